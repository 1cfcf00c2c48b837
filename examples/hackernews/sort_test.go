package main

import (
	"slices"
	"testing"
	"time"
)

func TestRank(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0).UTC()
	at := func(id, score int64, age time.Duration) post {
		return post{ID: id, Score: score, Time: unix(now.Add(-age).Unix())}
	}
	for _, tt := range []struct {
		name  string
		posts []post
		want  []int64
	}{
		{"nothing", nil, nil},
		{"by points", []post{at(1, 5, time.Hour), at(2, 9, time.Hour), at(3, 7, time.Hour)}, []int64{2, 3, 1}},
		{"with the same points the newest first", []post{at(1, 5, 3*time.Hour), at(2, 5, time.Hour), at(3, 5, 2*time.Hour)}, []int64{2, 3, 1}},
		{"of the same second by number", []post{at(1, 5, time.Hour), at(3, 5, time.Hour), at(2, 5, time.Hour)}, []int64{3, 2, 1}},
		{"yesterday's are out", []post{at(1, 5, 24*time.Hour), at(2, 1, 24*time.Hour-time.Second)}, []int64{2}},
		{"tomorrow's are in, clocks differ", []post{at(1, 5, -time.Minute)}, []int64{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rank(tt.posts, now)
			var got []int64
			for _, p := range r.Posts {
				got = append(got, p.ID)
			}
			if !slices.Equal(got, tt.want) || r.Count != len(tt.want) {
				t.Errorf("posts = %v, count %d, want %v", got, r.Count, tt.want)
			}
			if r.Posts == nil {
				t.Error("no posts are null in JSON, not []")
			}
		})
	}
}

func TestRankDoesNotOutgrowAMessage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	posts := make([]post, 3*maxPosts)
	for i := range posts {
		posts[i] = post{ID: int64(i), Time: unix(now.Unix())}
	}
	if r := rank(posts, now); r.Count != maxPosts || len(r.Posts) != maxPosts {
		t.Errorf("count %d, %d posts", r.Count, len(r.Posts))
	}
}

func TestTopOfMoreThanThereIsReturnsAll(t *testing.T) {
	t.Parallel()
	r := report{Posts: []post{{ID: 1}, {ID: 2}}}
	for n, want := range map[int64]int{1: 1, 2: 2, 3: 2, 1 << 62: 2} {
		if got := r.top(n); len(got.Posts) != want {
			t.Errorf("top(%d) has %d posts", n, len(got.Posts))
		}
	}
}

package instance

import (
	"net/url"
	"reflect"
	"testing"
)

func FuzzTarget(f *testing.F) {
	for _, target := range []string{"/", "/a/b?c=d", "//a", "/?", "/a?b?", "*", "/%2F", "/a!b", "/h\u00e9?\u00e9", "http://a/b", "/a b", "/a?\x7f", "/a#b", ""} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		var got url.URL
		err := readTarget(&got, target)
		want, fault := url.ParseRequestURI(target)
		if (err == nil) != (fault == nil) || err == nil && !reflect.DeepEqual(&got, want) {
			t.Errorf("%q is %#v, %v, want %#v, %v", target, got, err, want, fault)
		}
	})
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mayfly-run/mayfly"
)

// scale is the verb scale.
type scale struct {
	client    `embed:""`
	Name      string `arg:"" help:"Function or service."`
	Instances *int   `arg:"" optional:"" help:"Of a service: how many run."`
	Min       int    `name:"min" help:"Of a function: how many each node keeps ready." placeholder:"N"`
	Max       int    `name:"max" help:"Of a function: how many each node may have." placeholder:"N"`
}

// Help is shown by mayfly scale --help.
func (*scale) Help() string {
	return `Nothing is restarted, and there is no new revision. The next deploy takes it back: what is to stay
belongs into mayfly.yaml, as instances.

  mayfly scale hello --min 2 --max 8           the function hello, on each node
  mayfly scale Mailer 3                        the service Mailer`
}

// Run is called by kong.
func (s *scale) Run(ctx context.Context, p *process) error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	minSet, maxSet := slices.Contains(p.set, "min"), slices.Contains(p.set, "max")
	switch {
	case s.Instances == nil && !minSet && !maxSet:
		return mayfly.Errorf(mayfly.Invalid, "scale %s to what?", s.Name).
			WithHint("mayfly scale %s --min N --max N for a function, mayfly scale %[1]s N for a service", s.Name)
	case s.Instances != nil && (minSet || maxSet):
		return mayfly.Errorf(mayfly.Invalid, "a number and --min or --max exclude each other").
			WithHint("a service has a number of instances, a function a least and a most")
	}
	st, err := s.store(ctx, p, changes)
	if err != nil {
		return err
	}
	defer st.Close()
	if s.Instances != nil {
		return s.service(ctx, p, st)
	}
	return s.function(ctx, p, st, minSet, maxSet)
}

func (s *scale) service(ctx context.Context, p *process, st *store) error {
	h, err := st.ScaleService(ctx, s.Name, *s.Instances)
	if mayfly.CodeOf(err) == mayfly.NotFound && s.isFunction(ctx, st) {
		return mayfly.Errorf(mayfly.Invalid, "%s is a function: its instances come and go with its calls", s.Name).
			WithHint("mayfly scale %s --min %d --max %[2]d", s.Name, *s.Instances)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s runs in %s\n", h, plural(h.Instances, "instance"))
	return err
}

func (s *scale) function(ctx context.Context, p *process, st *store, minSet, maxSet bool) error {
	name, err := mayfly.ParseName(s.Name)
	if err != nil {
		// Only a service can have such a name.
		return errors.Join(s.notService(ctx, st), err)
	}
	f, err := st.Get(ctx, mayfly.Ref{Name: name})
	if mayfly.CodeOf(err) == mayfly.NotFound {
		if wrong := s.notService(ctx, st); wrong != nil {
			return wrong
		}
	}
	if err != nil {
		return err
	}
	n := f.Instances
	if minSet {
		n.Min = s.Min
	}
	if maxSet {
		n.Max = s.Max
	}
	if n.Max == 0 && maxSet {
		return mayfly.Errorf(mayfly.Invalid, "with --max 0 nobody could call %s", name).WithHint("mayfly remove %s takes it away", name)
	}
	if f, err = st.Scale(ctx, name, n); err != nil {
		return err
	}
	n = f.WithDefaults().Instances
	_, err = fmt.Fprintf(p.stdout, "%s has %d to %s on each node\n", f, n.Min, plural(n.Max, "instance"))
	return err
}

func (s *scale) isFunction(ctx context.Context, st *store) bool {
	name, err := mayfly.ParseName(s.Name)
	if err != nil {
		return false
	}
	_, err = st.Get(ctx, mayfly.Ref{Name: name})
	return err == nil
}

// notService returns an error if the name is a service's.
func (s *scale) notService(ctx context.Context, st *store) error {
	if _, err := st.GetService(ctx, s.Name, 0); err != nil {
		return nil
	}
	return mayfly.Errorf(mayfly.Invalid, "%s is a service: it has a number of instances, no least and most", s.Name).
		WithHint("mayfly scale %s N", s.Name)
}

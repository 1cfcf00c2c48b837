package cli

import (
	"context"
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
	return `Nothing is restarted, and there is no new revision. The next deploy resets it; to make it
permanent, set instances in mayfly.yaml.

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
		return mayfly.Errorf(mayfly.Invalid, "give either a number, or --min and --max").
			WithHint("a service has a number of instances, a function a minimum and a maximum")
	}
	st, err := s.store(ctx, p, changes)
	if err != nil {
		return err
	}
	defer st.Close()
	u, err := st.Get(ctx, mayfly.Ref{Name: mayfly.Name(s.Name)})
	if err != nil {
		return err
	}
	n, err := s.instances(u, minSet, maxSet)
	if err != nil {
		return err
	}
	if u, err = st.Scale(ctx, u.Name, n); err != nil {
		return err
	}
	if n = u.WithDefaults().Instances; u.Kind == mayfly.KindService {
		_, err = fmt.Fprintf(p.stdout, "%s runs in %s\n", u, plural(n.Min, "instance"))
	} else {
		_, err = fmt.Fprintf(p.stdout, "%s has %d to %s on each node\n", u, n.Min, plural(n.Max, "instance"))
	}
	return err
}

// instances returns how many instances u is to have.
func (s *scale) instances(u mayfly.Unit, minSet, maxSet bool) (mayfly.Instances, error) {
	n := u.Instances
	switch {
	case u.Kind == mayfly.KindService && s.Instances == nil:
		return n, mayfly.Errorf(mayfly.Invalid, "%s is a service: it has a number of instances, not a minimum and maximum", u.Name).
			WithHint("mayfly scale %s N", u.Name)
	case u.Kind == mayfly.KindService:
		return mayfly.Exactly(*s.Instances), nil
	case s.Instances != nil:
		return n, mayfly.Errorf(mayfly.Invalid, "%s is a function: its instances come and go with its calls", u.Name).
			WithHint("mayfly scale %s --min %d --max %[2]d", u.Name, *s.Instances)
	}
	if minSet {
		n.Min = s.Min
	}
	if maxSet {
		n.Max = s.Max
	}
	if n.Max == 0 && maxSet {
		return n, mayfly.Errorf(mayfly.Invalid, "with --max 0 no call of %s could run", u.Name).WithHint("to remove it: mayfly remove %s", u.Name)
	}
	return n, nil
}

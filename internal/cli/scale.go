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
	Instances *int   `arg:"" optional:"" help:"Number of instances of a service."`
	Min       int    `name:"min" help:"Instances of a function that each node keeps ready." placeholder:"N"`
	Max       int    `name:"max" help:"Instances of a function that each node may run." placeholder:"N"`
}

// Help is shown by mayfly scale --help.
func (*scale) Help() string {
	return `Nothing restarts, and there is no new revision. The next deploy resets it; to
make it permanent, set instances in mayfly.yaml.

  mayfly scale hello --min 2 --max 8  scale a function, on each node
  mayfly scale Mailer 3               scale a service`
}

// Run is called by kong.
func (s *scale) Run(ctx context.Context, p *process) error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	minSet, maxSet := slices.Contains(p.set, "min"), slices.Contains(p.set, "max")
	switch {
	case s.Instances == nil && !minSet && !maxSet:
		return mayfly.Errorf(mayfly.Invalid, "missing number of instances for %s", s.Name).
			WithHint("run mayfly scale %s --min N --max N for a function, mayfly scale %[1]s N for a service", s.Name)
	case s.Instances != nil && (minSet || maxSet):
		return mayfly.Errorf(mayfly.Invalid, "cannot combine a number with --min or --max").
			WithHint("pass a number for a service, or --min and --max for a function")
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
		_, err = fmt.Fprintf(p.stdout, "%s has %s\n", u, plural(n.Min, "instance"))
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
		return n, mayfly.Errorf(mayfly.Invalid, "%s is a service; --min and --max are for functions", u.Name).
			WithHint("run mayfly scale %s N", u.Name)
	case u.Kind == mayfly.KindService:
		return mayfly.Exactly(*s.Instances), nil
	case s.Instances != nil:
		return n, mayfly.Errorf(mayfly.Invalid, "%s is a function; it takes --min and --max, not a number", u.Name).
			WithHint("run mayfly scale %s --min %d --max %[2]d", u.Name, *s.Instances)
	}
	if minSet {
		n.Min = s.Min
	}
	if maxSet {
		n.Max = s.Max
	}
	if n.Max == 0 && maxSet {
		return n, mayfly.Errorf(mayfly.Invalid, "--max 0 leaves no instances to run %s", u.Name).WithHint("remove it instead: mayfly remove %s", u.Name)
	}
	return n, nil
}

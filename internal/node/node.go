package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/console"
	"github.com/mayfly-run/mayfly/internal/dispatch"
	"github.com/mayfly-run/mayfly/internal/door"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/inventory"
	"github.com/mayfly-run/mayfly/internal/logs"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/news"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/process"
	"github.com/mayfly-run/mayfly/internal/registry"
	"github.com/mayfly-run/mayfly/internal/responder"
	"github.com/mayfly-run/mayfly/internal/roster"
	"github.com/mayfly-run/mayfly/internal/runner"
	"github.com/mayfly-run/mayfly/internal/secrets"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// Options say what a node runs and how.
type Options struct {
	Config  config.Config     // checked by config.Load
	Folder  string            // of the node's state; required, see FolderOf
	Home    string            // where commands look for nodes, see FindElsewhere; none if empty
	Fresh   bool              // empties the folder first
	Routes  []mayfly.Route    // of projects, for the gateway
	Reaper  []string          // command line of mayfly reaper, see process.Options
	Base    Base              // variables that instances take from our own environment
	Version string            // of Mayfly
	Log     *slog.Logger      // discards if nil
	Access  gateway.AccessLog // none if nil
	Trace   io.Writer         // gets the embedded server's traffic; none if nil
	Output  func(mayfly.Line) // gets the lines of instances; must not block; may be nil
	Watch   func(Change)      // is told of services that appear and disappear, one call at a time; may be nil
}

// A Node is one mayfly process: the bus and its stores, the runner, and the doors.
type Node struct {
	options   Options
	folder    *folder
	bus       *bus.Bus
	directory *micro.Directory
	store     *store
	inventory *inventory.Inventory // nil unless the store is ours
	keeper    *process.Keeper
	runner    *runner.Runner
	dispatch  *dispatch.Dispatcher
	gateway   *gateway.Gateway
	url       string // of the gateway
	responder *responder.Responder
	console   *console.Console // nil if admin.addr is off
	listening *Listening       // set by New, never changed

	coreKey  string // path of the file; "" if no key opens the account of our state
	labels   map[string]string
	roster   *roster.Roster
	logins   logins
	answerer *peers.Answerer

	secretsSet news.Feed[mayfly.Name]

	started time.Time
	took    time.Duration

	close func() error // everything that is open, once
}

// New returns a node whose doors listen. It is the spine of the product: each part is
// built from parts that already work, floor by floor. If one fails, those before it are
// closed again.
func New(ctx context.Context, o Options) (_ *Node, err error) {
	n := &Node{options: o, started: time.Now()}
	var closers []func() error
	n.close = sync.OnceValue(func() error {
		var errs []error
		for _, c := range slices.Backward(closers) {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	})
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	n.options.Log = o.Log
	logOf := func(name string) *slog.Logger { return o.Log.With(telemetry.KeyPart, name) }
	c := o.Config
	n.options.Base = o.Base.withDefaults()

	// The folder first: its lock keeps a second node away from the store.
	if n.folder, err = openFolder(o.Folder, o.Fresh); err != nil {
		return nil, err
	}
	closers = append(closers, n.folder.close)

	// NATS, embedded or existing. Nothing above this line knows which.
	var reach bus.Options
	if reach, n.coreKey, err = busOptions(c, n.folder, o.Trace, logOf("bus")); err != nil {
		return nil, err
	}
	if n.bus, err = bus.Open(ctx, reach); err != nil {
		return nil, err
	}
	closers = append(closers, n.bus.Close)
	n.directory = micro.OpenDirectory(n.bus, logOf("directory"))
	closers = append(closers, n.directory.Close)

	// What is deployed, its secrets and its logs.
	if n.store, err = openStore(ctx, n.bus, storeOptions{
		registry: registry.Options{Cache: n.folder.bundles(), Log: logOf("registry")},
		secrets:  secrets.Options{Folder: n.folder.path, KeyFile: c.SecretKey, Log: logOf("secrets")},
		logs:     logs.Options{Log: logOf("logs")},
	}, o.Log); err != nil {
		return nil, err
	}
	closers = append(closers, n.store.close)
	if n.bus.Embedded() { // any other store is its operator's responsibility
		o := inventory.Options{File: RecordOf(n.folder.path), Log: logOf("inventory")}
		if n.inventory, err = inventory.Open(ctx, n.bus, o); err != nil {
			return nil, err
		}
	}

	// Processes, and the runner that keeps them alive. The keeper is closed after the runner
	// has stopped everything in order, and kills what is left.
	if n.keeper, err = process.Open(ctx, process.Options{Reaper: o.Reaper, Log: logOf("process")}); err != nil {
		return nil, err
	}
	closers = append(closers, n.keeper.Close)
	sockets, err := n.folder.sockets()
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() error { return os.RemoveAll(sockets) })
	engines, err := newEngines(n.keeper, sockets, logOf)
	if err != nil {
		return nil, err
	}
	n.runner = runner.New(runner.Options{
		Engines: engines,
		Env:     n.environment, Ended: n.cleanUp, Output: n.output, Node: n.id(), Drain: c.Drain, Log: logOf("runner"),
	})
	closers = append(closers, n.runner.Close)
	if n.labels, err = c.LabelMap(); err != nil {
		return nil, err
	}
	// Deployed instances start with the roster, and are told where the gateway is.
	listener, err := door.Listen("gateway.addr", c.Gateway.Addr)
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() error { _ = listener.Close(); return nil }) // Run has closed it
	n.url = door.URL(listener, c.Gateway.Cert != "" || c.Gateway.Key != "")
	n.roster = roster.New(roster.Options{
		Registry: n.store.registry, Runner: n.runner, Labels: n.labels, Routes: o.Routes, Log: logOf("roster"),
	})

	// The doors open last, once there is something behind them.
	g := gatewayOptions(o, n.bus.Embedded(), logOf("gateway"))
	g.Listener, g.Directory, g.Functions, g.Ready, g.Off = listener, n.directory, n.roster, n.ready, n.store.barred
	n.dispatch = dispatch.New(n.bus, n.directory, dispatch.Options{
		Functions: n.roster, Remote: !c.Gateway.Local,
		Timeout: c.Gateway.Timeout, MaxBody: int64(c.Gateway.MaxBody), InFlight: c.Gateway.InFlight,
	})
	if n.gateway, err = gateway.New(n.dispatch, g); err != nil {
		return nil, err
	}
	n.responder, err = responder.New(ctx, n.bus, n.roster, n.runner, responder.Options{
		Node: n.id(), Name: n.folder.identity.Server, DrainTimeout: c.Drain, Development: c.Dev, Log: logOf("responder"),
	})
	if err != nil {
		return nil, err
	}
	closers = append(closers, n.responder.Close)
	metrics := newMetrics(n)
	if c.Admin.Addr != config.AdminOff {
		n.console, err = console.New(console.Options{Addr: c.Admin.Addr, Metrics: metrics.Handler(), Log: logOf("console")})
		if err != nil {
			return nil, err
		}
		closers = append(closers, n.console.Close)
	}

	// Now peers can ask this node, and clients on this machine can find it.
	if n.answerer, err = peers.NewAnswerer(ctx, n.bus, n.answers(logOf("peers"))); err != nil {
		return nil, err
	}
	closers = append(closers, n.answerer.Close)
	n.listening = n.findListening()
	if err := n.folder.announce(n.listening); err != nil {
		return nil, err
	}
	closers = append(closers, noteElsewhere(o.Home, o.Folder, o.Log))
	n.took = time.Since(n.started)
	return n, nil
}

// Run serves until ctx ends, then stops in stages: the doors, which finish the calls in
// flight; then the runner, which ends the instances; then everything else. Errors:
// ErrEnabled, and what made the node fail.
func (n *Node) Run(ctx context.Context) error {
	doors := []worker{n.gateway, n.responder, n.answerer, lossWatch{n.bus}, enableWatch{n.bus}}
	if n.console != nil {
		doors = append(doors, n.console)
	}
	if n.options.Watch != nil {
		doors = append(doors, watcher{n.directory, n.options.Watch})
	}
	followers := []worker{n.roster}
	if n.inventory != nil {
		followers = append(followers, n.inventory)
	}
	err := runStages(ctx, doors, followers, []worker{n.runner})
	return errors.Join(err, n.close())
}

// Roster returns what the node serves, so that a session can add to it.
func (n *Node) Roster() *roster.Roster { return n.roster }

// SecretsSet returns a channel with the names of secrets that are set from now on. It is
// closed when ctx ends.
func (n *Node) SecretsSet(ctx context.Context) <-chan map[mayfly.Name]struct{} {
	return n.secretsSet.Watch(ctx)
}

// ready returns nil, or why this node should get no traffic.
func (n *Node) ready() error {
	err := cmp.Or(n.bus.Ready(), n.store.registry.Ready())
	if err == nil && n.inventory != nil {
		err = n.inventory.Ready()
	}
	return err
}

// RecordOf returns the file in a data folder that says what the store should hold.
func RecordOf(folder string) string { return filepath.Join(folder, "store.json") }

// id returns the node's id, which never changes.
func (n *Node) id() string { return n.folder.identity.ID }

// output passes the lines of instances to the stream of logs and to Options.Output.
func (n *Node) output(l mayfly.Line) {
	n.store.append(l)
	if n.options.Output != nil {
		n.options.Output(l)
	}
	if more, ok := n.logins.advice(l); ok {
		n.output(more)
	}
}

// Close releases everything held by a node that never ran.
func (n *Node) Close() error { return n.close() }

// busOptions chooses between the embedded server and an existing one. It returns the path
// of the core key, if one is used.
func busOptions(c config.Config, f *folder, trace io.Writer, log *slog.Logger) (o bus.Options, coreKey string, err error) {
	o = bus.Options{
		Name:        f.identity.Server,
		Connections: c.Bus.Connections,
		Wait:        c.Bus.Wait,
		Log:         log,
	}
	if c.Server.NATS != "" || c.Server.Context != "" {
		o.Remote = RemoteOf(c.Server)
		if c.Core.Key != "" {
			coreKey, _ = filepath.Abs(c.Core.Key) // others read it in node.json
		}
		o.Core, err = CoreOf(c.Core, o.Remote)
		return o, coreKey, err
	}
	left, err := f.separateState()
	if err != nil {
		return o, "", err
	}
	for _, path := range left {
		log.Warn("stream is in the account of users and in that of our state: left where it is", "path", path)
	}
	key, coreKey, err := f.coreKey(c.Core.Key)
	o.Server = &bus.ServerOptions{
		Name: f.identity.Server, Addr: c.Bus.Addr, Monitor: c.Bus.Monitor, Store: f.store(), Trace: trace,
		User: c.Bus.User, Password: c.Bus.Password, Token: c.Bus.Token, CoreKey: key,
		MaxStore: int64(c.Bus.Store), MaxMemory: int64(c.Bus.Memory),
	}
	return o, coreKey, err
}

// RemoteOf returns how the configuration reaches an existing server.
func RemoteOf(s config.Server) bus.Remote {
	return bus.Remote{
		URL: s.NATS, Creds: s.Creds, User: s.User, Password: s.Password, Token: s.Token,
		Cert: s.TLS.Cert, Key: s.TLS.Key, CA: s.TLS.CA, Context: s.Context,
	}
}

func gatewayOptions(o Options, embedded bool, log *slog.Logger) gateway.Options {
	g := o.Config.Gateway
	expose := g.Expose
	if expose == nil && embedded && config.Loopback(g.Addr) && config.Loopback(o.Config.Bus.Addr) {
		// Both can be reached from this machine only, and so can the services.
		expose = []string{"*"}
	}
	return gateway.Options{
		Cert: g.Cert, Key: g.Key, Expose: expose, Hosts: g.Hosts, Trust: g.Trust, NoFront: !g.Front,
		HeaderTimeout: g.HeaderTimeout, BodyTimeout: g.BodyTimeout, WriteTimeout: g.WriteTimeout,
		IdleTimeout: g.IdleTimeout, DrainTimeout: o.Config.Drain, MaxHeader: int(g.MaxHeader),
		Development: o.Config.Dev, Version: o.Version, Access: o.Access, Log: log,
	}
}

// findListening collects the addresses of the doors, once: they do not change.
func (n *Node) findListening() *Listening {
	l := &Listening{PID: os.Getpid(), NATS: n.bus.URL(), Gateway: n.url, Embedded: n.bus.Embedded(), CoreKey: n.coreKey}
	if n.console != nil {
		l.Admin = n.console.URL()
	}
	return l
}

// Status describes a node that is ready, for people.
type Status struct {
	Version  string // of Mayfly
	Go       string
	Server   string // version of the NATS server
	Embedded bool   // whether it is ours
	Own      bool   // whether Mayfly's state has an account of its own there
	Folder   string
	NATS     string // URLs, without secrets
	Monitor  string // "" if off
	Gateway  string
	Admin    string // "" if off
	Routes   []mayfly.Route
	Services []mayfly.Service
	Expose   []string // patterns of the services that the gateway exposes

	Units []mayfly.Unit // that run here: functions by name, then services by name

	Took time.Duration // from New to ready
}

// Status returns a snapshot.
func (n *Node) Status() Status {
	l := n.listening
	s := Status{
		Version: n.options.Version, Go: runtime.Version(), Server: n.bus.ServerVersion(), Embedded: n.bus.Embedded(), Own: n.bus.OwnAccount(),
		Folder: n.folder.path, NATS: l.NATS, Monitor: n.bus.MonitorURL(), Gateway: l.Gateway, Admin: l.Admin,
		Services: n.directory.Services(), Expose: n.gateway.Expose(), Took: n.took,
	}
	n.gateway.Refresh() // show what has just been set
	s.Routes, _ = n.gateway.Routes()
	s.Units = n.runner.Units()
	return s
}

// InFlight returns the number of requests in progress in the gateway.
func (n *Node) InFlight() int64 { return n.gateway.Stats().InFlight }

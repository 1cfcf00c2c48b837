package bus

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats-server/v2/server"
)

// ServerOptions say how the embedded NATS server runs.
type ServerOptions struct {
	Name    string // server name; NATS makes one up if empty
	Addr    string // where clients connect; "127.0.0.1:0", a free port, if empty
	Monitor string // address of NATS's own HTTP monitoring; off if empty
	Store   string // folder of JetStream's files; required

	// Trace gets a line for each protocol message, as nats-server -DV prints them, for
	// people to read, not for a log. Nil for none.
	Trace io.Writer

	// The login of clients. Without one anybody may connect, which is for loopback.
	User, Password string
	Token          string

	CoreKey string // password of mayfly.UserCore, the only user of mayfly.AccountCore; random if empty

	MaxStore  int64 // bytes on disk; 80 % of what is free and already used if zero
	MaxMemory int64 // bytes in memory streams; 256 MiB if zero

	Log *slog.Logger // discards if nil

	wedged *atomic.Pointer[string] // set when a stream can no longer be written; may be nil
}

// startServer starts a server and waits until it answers, or says why it cannot.
// Recovering a large store takes a while and has no timeout.
func startServer(ctx context.Context, o ServerOptions) (*server.Server, error) {
	opts, err := o.serverOptions()
	if err != nil {
		return nil, err
	}
	if err := o.checkDoors(ctx); err != nil {
		return nil, err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("make the NATS server: %w", err)
	}
	logger := &serverLog{log: o.Log, trace: o.Trace, fatal: make(chan string, 1), wedged: o.wedged}
	s.SetLoggerV2(logger, o.Trace != nil, o.Trace != nil, false)
	if d, ok := opts.CustomClientAuthentication.(*doorkeeper); ok {
		d.account, _ = s.LookupAccount(mayfly.AccountMayfly) // both were configured
		d.core, _ = s.LookupAccount(mayfly.AccountCore)
	}
	s.Start() // returns when it listens, or after a fatal line
	select {
	case reason := <-logger.fatal:
		s.Shutdown()
		s.WaitForShutdown()
		if err := o.checkDoors(ctx); err != nil { // another program was faster
			return nil, err
		}
		return nil, mayfly.Errorf(mayfly.Internal, "the NATS server could not start: %s", reason).
			WithHint("its files are in %s; --log.level debug tells more", o.Store)
	default:
		return s, nil
	}
}

// serverOptions translates to the server's own options. Accounts are made by the
// server's configuration language because only it can give one JetStream before
// the server listens; the text holds nothing from outside.
func (o *ServerOptions) serverOptions() (*server.Options, error) {
	if (o.User == "") != (o.Password == "") {
		// Half a login would leave the door open, or nearly.
		return nil, mayfly.Errorf(mayfly.Invalid, "bus.user and bus.password must be set together").
			WithHint("give --bus.user and --bus.password, or --bus.token")
	}
	host, port, err := splitAddr(o.Addr)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{}
	err = opts.ProcessConfigString(fmt.Sprintf(
		"accounts { %s: {jetstream: enabled}, %s: {jetstream: enabled}, %s: {} }\nsystem_account: %s",
		mayfly.AccountCore, mayfly.AccountMayfly, mayfly.AccountSystem, mayfly.AccountSystem))
	if err != nil {
		return nil, fmt.Errorf("make the NATS accounts: %w", err)
	}
	opts.ServerName = o.Name
	opts.Host, opts.Port = host, port
	opts.NoSigs = true
	opts.JetStream = true
	opts.StoreDir = o.Store
	opts.SyncAlways = syncAlways
	opts.SyncInterval = time.Second // for writes that are not followed by Sync
	opts.JetStreamMaxMemory = cmp.Or(o.MaxMemory, 256<<20)
	opts.Debug, opts.Trace = o.Trace != nil, o.Trace != nil
	if o.Monitor != "" {
		opts.HTTPHost, opts.HTTPPort, err = splitAddr(o.Monitor)
		if err != nil {
			return nil, err
		}
	}
	switch {
	case o.User != "" || o.Token != "":
		opts.CustomClientAuthentication = &doorkeeper{user: o.User, password: o.Password, token: o.Token, coreKey: o.CoreKey}
	default:
		// The server compares passwords in constant time too.
		everybody, core := &server.User{Username: "mayfly"}, &server.User{Username: mayfly.UserCore, Password: o.CoreKey}
		for _, a := range opts.Accounts {
			switch a.Name {
			case mayfly.AccountMayfly:
				everybody.Account = a
			case mayfly.AccountCore:
				core.Account = a
			}
		}
		opts.Users = []*server.User{everybody, core}
		opts.NoAuthUser = everybody.Username
	}
	if err := writable(o.Store); err != nil {
		return nil, err
	}
	opts.JetStreamMaxStore = o.MaxStore
	if opts.JetStreamMaxStore == 0 {
		opts.JetStreamMaxStore = storeShare(o.Store)
	}
	return opts, nil
}

// checkDoors tries the addresses first: the server itself would only log a port in use
// and run without it.
func (o *ServerOptions) checkDoors(ctx context.Context) error {
	for _, door := range []struct{ addr, key string }{{o.Addr, "bus.addr"}, {o.Monitor, "bus.monitor"}} {
		if door.addr == "" {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", door.addr)
		if err == nil {
			l.Close()
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return mayfly.Errorf(mayfly.Unavailable, "cannot listen on %s (%s): %w", door.addr, door.key, cause(err)).
				WithHint("choose another address with --%s", door.key)
		}
		if dial := dialAddr(door.addr); door.key == "bus.addr" && speaksNATS(ctx, dial) {
			return mayfly.Errorf(mayfly.Conflict, "a NATS server already runs on %s", door.addr).
				WithHint("use it with --nats nats://%s, or choose another address with --bus.addr", dial)
		}
		return mayfly.Errorf(mayfly.Conflict, "%s (%s) is in use by another program", door.addr, door.key).
			WithHint("choose another address with --%s", door.key)
	}
	return nil
}

// dialAddr returns where this machine reaches a listener on addr.
func dialAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// speaksNATS reports whether a NATS server is at addr: it sends the first line.
func speaksNATS(ctx context.Context, addr string) bool {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(time.Second))
	greeting := make([]byte, 5)
	n, _ := c.Read(greeting)
	return string(greeting[:n]) == "INFO "
}

// writable creates the folder and checks that it can create a file in it.
func writable(folder string) error {
	if folder == "" {
		return mayfly.Errorf(mayfly.Invalid, "the NATS server has no store folder")
	}
	err := os.MkdirAll(folder, 0o700)
	if err == nil {
		probe := filepath.Join(folder, ".writable")
		if err = os.WriteFile(probe, []byte("x"), 0o600); err == nil {
			err = os.Remove(probe)
		}
	}
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "the store %s cannot be written: %w", folder, cause(err)).
			WithHint("give the folder to this user, free some space, or choose another with --data")
	}
	return nil
}

// storeShare returns 80 % of what the store may grow to: a full disk wedges JetStream
// until a restart, while its own limit fails at once and recovers.
func storeShare(folder string) int64 {
	const least = 1 << 20 // for JetStream 0 means as much as it likes
	free, ok := freeSpace(folder)
	if !ok {
		return 10 << 30
	}
	var used int64
	filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				used += info.Size()
			}
		}
		return nil
	})
	return max(least, (free+used)/10*8)
}

// splitAddr splits host:port; NATS takes -1 for a free port.
func splitAddr(addr string) (host string, port int, err error) {
	if addr == "" {
		return "127.0.0.1", server.RANDOM_PORT, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, mayfly.Errorf(mayfly.Invalid, "address %q is not host:port", addr).WithHint("write it like 127.0.0.1:4222")
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// cause drops the "open /path:" and "listen tcp:" that our own text already has.
func cause(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// doorkeeper lets in clients that know the password or the token, and into the
// account of our state those that know its key.
type doorkeeper struct {
	user, password, token string
	coreKey               string
	account, core         *server.Account
}

// Check implements server.Authentication.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	given := c.GetOpts()
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	if same(given.Username, mayfly.UserCore) && same(given.Password, d.coreKey) {
		c.RegisterUser(&server.User{Username: given.Username, Account: d.core})
		return true
	}
	byToken := d.token != "" && same(given.Token, d.token)
	byUser := d.user != "" && same(given.Username, d.user) && same(given.Password, d.password)
	if !byToken && !byUser {
		return false
	}
	c.RegisterUser(&server.User{Username: given.Username, Account: d.account})
	return true
}

// serverLog gives the server's lines to slog. Its Fatalf keeps the process alive:
// a library does not decide that.
type serverLog struct {
	log   *slog.Logger
	trace io.Writer   // nil if off
	fatal chan string // the first one

	wedged *atomic.Pointer[string] // see ServerOptions
}

func (l *serverLog) line(level slog.Level, format string, args ...any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats server said", "line", fmt.Sprintf(format, args...))
	}
}

// Noticef implements server.Logger. NATS's notices of every start are debug lines here.
func (l *serverLog) Noticef(format string, args ...any) { l.line(slog.LevelDebug, format, args...) }
func (l *serverLog) Debugf(format string, args ...any)  { l.line(slog.LevelDebug, format, args...) }

// Errorf implements server.Logger. A stream whose disk was full or failed accepts no
// writes until the server restarts; only this line reports it.
func (l *serverLog) Errorf(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); l.wedged != nil && strings.Contains(text, "Critical write error") {
		l.wedged.CompareAndSwap(nil, &text)
	}
	l.line(slog.LevelError, format, args...)
}

// Warnf implements server.Logger. It drops one line, about the loopback user that has
// no password: no file has one, and people would see the warning at each start.
func (l *serverLog) Warnf(format string, args ...any) {
	if !strings.HasPrefix(format, "Plaintext passwords detected") {
		l.line(slog.LevelWarn, format, args...)
	}
}

// Tracef implements server.Logger, with one write per line.
func (l *serverLog) Tracef(format string, args ...any) {
	if l.trace == nil {
		return
	}
	line := time.Now().AppendFormat(nil, "15:04:05.000000 ")
	line = append(fmt.Appendf(line, format, args...), '\n')
	_, _ = l.trace.Write(line) // there is nowhere left to report it
}

func (l *serverLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default:
	}
	l.line(slog.LevelError, format, args...)
}

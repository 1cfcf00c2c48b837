package bus_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// write makes a file and returns its path.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An authority signs certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// sign returns a certificate that is good for either end, and its files.
func (a authority) sign(t *testing.T) (pair tls.Certificate, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "one end"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	return pair, write(t, "cert.pem", certPEM), write(t, "key.pem", keyPEM)
}

// serverTLS makes a server's side; with clients it wants to see certificates too.
func (a authority) serverTLS(t *testing.T, clients bool) *tls.Config {
	t.Helper()
	pair, _, _ := a.sign(t)
	c := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(a.cert)
	}
	return c
}

// startWithCreds starts a server in operator mode and returns a user's
// credentials file.
func startWithCreds(t *testing.T) (url, creds string) {
	t.Helper()
	must := func(s string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pair := func(kp nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return kp, must(kp.PublicKey())
	}
	operator, operatorID := pair(nkeys.CreateOperator())
	account, accountID := pair(nkeys.CreateAccount())
	user, userID := pair(nkeys.CreateUser())

	operatorClaims, err := jwt.DecodeOperatorClaims(must(jwt.NewOperatorClaims(operatorID).Encode(operator)))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountID, must(jwt.NewAccountClaims(accountID).Encode(operator))); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, server.Options{TrustedOperators: []*jwt.OperatorClaims{operatorClaims}, AccountResolver: resolver})
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(must(jwt.NewUserClaims(userID).Encode(account)), seed)
	if err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), write(t, "user.creds", file)
}

// oldServer speaks as much of the protocol of an old server as a client needs to
// believe it, until the end of the test.
func oldServer(t *testing.T, version string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, `INFO {"server_id":"old","version":%q,"proto":1,"headers":true,"max_payload":1048576}`+"\r\n", version)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprint(c, "PONG\r\n")
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return "nats://" + l.Addr().String()
}

func TestOpenFindsItsWayIn(t *testing.T) {
	t.Parallel()
	store := func(o server.Options, t *testing.T) string {
		o.StoreDir = t.TempDir()
		return startServer(t, o).ClientURL()
	}
	for _, tt := range []struct {
		name string
		o    func(t *testing.T) bus.Options
	}{
		{"user and password", func(t *testing.T) bus.Options {
			url := startServer(t, server.Options{Username: "ada", Password: "s3cret", StoreDir: t.TempDir()}).Addr().String()
			return bus.Options{Remote: bus.Remote{URL: url, User: "ada", Password: "s3cret"}}
		}},
		{"user and password in the address", func(t *testing.T) bus.Options {
			addr := startServer(t, server.Options{Username: "ada", Password: "s3cret", StoreDir: t.TempDir()}).Addr().String()
			return bus.Options{Remote: bus.Remote{URL: "nats://ada:s3cret@" + addr}}
		}},
		{"token", func(t *testing.T) bus.Options {
			url := startServer(t, server.Options{Authorization: "s3cret", StoreDir: t.TempDir()}).Addr().String()
			return bus.Options{Remote: bus.Remote{URL: url, Token: "s3cret"}}
		}},
		{"one of several addresses is dead", func(t *testing.T) bus.Options {
			return bus.Options{Remote: bus.Remote{URL: natstest.FreeAddr(t) + "," + store(server.Options{}, t)}}
		}},
		{"TLS by an authority of our own", func(t *testing.T) bus.Options {
			a := newAuthority(t)
			return bus.Options{Remote: bus.Remote{URL: store(server.Options{TLSConfig: a.serverTLS(t, false)}, t), CA: a.file}}
		}},
		{"TLS with a client certificate", func(t *testing.T) bus.Options {
			a := newAuthority(t)
			_, cert, key := a.sign(t)
			return bus.Options{Remote: bus.Remote{
				URL: store(server.Options{TLSConfig: a.serverTLS(t, true), TLSVerify: true}, t),
				CA:  a.file, Cert: cert, Key: key,
			}}
		}},
		{"credentials file", func(t *testing.T) bus.Options {
			url, creds := startWithCreds(t)
			return bus.Options{Remote: bus.Remote{URL: url, Creds: creds}, NoJetStream: true}
		}},
		{"a context's file with an inbox of its own", func(t *testing.T) bus.Options {
			url := startServer(t, server.Options{StoreDir: t.TempDir(), Users: []*server.User{{
				Username: "ada", Password: "s3cret",
				Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"ada.inbox.>"}}},
			}}}).ClientURL()
			text := fmt.Sprintf(`{"url":%q,"user":"ada","password":"s3cret","inbox_prefix":"ada.inbox"}`, url)
			return bus.Options{Remote: bus.Remote{Context: write(t, "ada.json", []byte(text))}}
		}},
		{"a server that comes while we wait", func(t *testing.T) bus.Options {
			addr, err := net.ResolveTCPAddr("tcp", natstest.FreeAddr(t))
			if err != nil {
				t.Fatal(err)
			}
			dir, come := t.TempDir(), make(chan struct{})
			go func() {
				defer close(come)
				startServer(t, server.Options{Port: addr.Port, StoreDir: dir})
			}()
			t.Cleanup(func() { <-come })
			return bus.Options{Remote: bus.Remote{URL: addr.String()}, Wait: soonIn}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := newDiary("")
			o := tt.o(t)
			o.Log = log.log()
			b := open(t, o)
			if err := b.Ready(); err != nil {
				t.Error(err)
			}
			if b.Embedded() || b.ServerVersion() != server.VERSION || strings.Contains(b.URL()+log.String(), "s3cret") {
				t.Errorf("embedded %v, version %s, url %s, log:\n%s", b.Embedded(), b.ServerVersion(), b.URL(), log)
			}
		})
	}
}

// Not parallel: the place of contexts is in the environment.
func TestOpenTakesAContextOfTheCommandLine(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	id, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, server.Options{StoreDir: t.TempDir(), Nkeys: []*server.NkeyUser{{Nkey: id}}})
	text := fmt.Sprintf(`{"url":%q,"nkey":%q}`, s.ClientURL(), write(t, "user.nk", seed))
	path := write(t, "nats/context/work.json", []byte(text))
	t.Setenv("XDG_CONFIG_HOME", filepath.Dir(filepath.Dir(filepath.Dir(path))))

	b := open(t, bus.Options{Remote: bus.Remote{Context: "work"}})
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
	if b.URL() != `context "work"` {
		t.Errorf("url = %s", b.URL())
	}
	_, err = bus.Open(t.Context(), bus.Options{Remote: bus.Remote{Context: "play"}})
	if err == nil {
		t.Fatal("an unknown context opened")
	}
	checkError(t, err, mayfly.Invalid, `unknown context "play"`, "--context")
}

func TestOpenSaysWhyItFailed(t *testing.T) {
	t.Parallel()
	plain := startServer(t, server.Options{}).Addr().String()
	login := startServer(t, server.Options{Username: "ada", Password: "right"}).Addr().String()
	token := startServer(t, server.Options{Authorization: "right"}).Addr().String()
	ca := newAuthority(t)
	secure := startServer(t, server.Options{TLSConfig: ca.serverTLS(t, false)}).Addr().String()
	mutual := startServer(t, server.Options{TLSConfig: ca.serverTLS(t, true), TLSVerify: true}).Addr().String()
	nobody := natstest.FreeAddr(t)
	for _, tt := range []struct {
		name   string
		remote bus.Remote
		code   mayfly.Code
		text   string
		hint   string
	}{
		{"wrong password", bus.Remote{URL: login, User: "ada", Password: "s3cret"}, mayfly.Denied, "NATS at nats://" + login + " rejected the login", "--password"},
		{"wrong password in the address", bus.Remote{URL: "nats://ada:s3cret@" + login}, mayfly.Denied, "NATS at nats://" + login + " rejected the login", "--password"},
		{"no password", bus.Remote{URL: login}, mayfly.Denied, "NATS at nats://" + login + " rejected the login", "--creds"},
		{"wrong token", bus.Remote{URL: token, Token: "s3cret"}, mayfly.Denied, "NATS at nats://" + token + " rejected the login", "--token"},
		{"nobody at the address", bus.Remote{URL: "nats://ada:s3cret@" + nobody}, mayfly.Unavailable, "no NATS server answers at nats://" + nobody, "--nats"},
		{"a server that hangs up", bus.Remote{URL: greet(t, "")}, mayfly.Unavailable, "no NATS server answers", "--nats"},
		{"another program", bus.Remote{URL: greet(t, "SSH-2.0\r\n")}, mayfly.Invalid, "cannot connect", "--nats"},
		{"no address", bus.Remote{URL: "nats://ada:s3cret@ex ample:4222"}, mayfly.Invalid, "cannot connect to an unreadable address", "--nats"},
		{"a password that breaks the address", bus.Remote{URL: "nats://ada:s3/cret@127.0.0.1:4222"}, mayfly.Invalid, "cannot connect to an unreadable address", "--nats"},
		{"no credentials file", bus.Remote{URL: plain, Creds: "/nowhere/user.creds"}, mayfly.Invalid, "nats://" + plain, "--creds"},
		{"no authority file", bus.Remote{URL: plain, CA: "/nowhere/ca.pem"}, mayfly.Invalid, "/nowhere/ca.pem", "--tls.ca"},
		{"no certificate file", bus.Remote{URL: plain, Cert: "/nowhere/c", Key: "/nowhere/k"}, mayfly.Invalid, "/nowhere/c", "--tls.cert"},
		{"no context file", bus.Remote{Context: "/nowhere/work.json"}, mayfly.Invalid, "/nowhere/work.json", "--context"},
		{"another authority", bus.Remote{URL: secure, CA: newAuthority(t).file}, mayfly.Invalid, "unknown authority", "--tls.ca"},
		{"no client certificate", bus.Remote{URL: mutual, CA: ca.file}, mayfly.Invalid, "certificate required", "--tls.cert"},
		{"no TLS there", bus.Remote{URL: plain, CA: ca.file}, mayfly.Invalid, "cannot connect to nats://" + plain, "--tls.ca"},
		{"too old", bus.Remote{URL: oldServer(t, "2.9.0")}, mayfly.Unavailable, "is nats-server 2.9.0: Mayfly needs 2.12.0 or newer", "upgrade"},
		{"a version that is none", bus.Remote{URL: oldServer(t, "new")}, mayfly.Unavailable, "is nats-server new", "upgrade"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := newDiary("")
			wait := 500 * time.Millisecond
			if tt.name == "no client certificate" {
				wait = soonIn // a reset of the connection may outrun the server's alert
			}
			b, err := bus.Open(t.Context(), bus.Options{Remote: tt.remote, Wait: wait, Log: log.log()})
			if err == nil {
				b.Close()
				t.Fatal("it opened")
			}
			checkError(t, err, tt.code, tt.text, tt.hint)
			if strings.Contains(log.String(), "s3cret") {
				t.Errorf("a secret shows in the log:\n%s", log)
			}
		})
	}
}

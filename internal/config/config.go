package config

import "time"

// Config is everything that can be set on a node. The tags are read by Load and,
// as the same table, by the command line (kong):
//
//	name    of the key, below the prefix of its group
//	help    one line with the unit
//	default what holds when nobody says otherwise
//	enum    the only values allowed
//	secret  never shown
//	above0  zero is no useful value and so an error; below zero is one anyway
type Config struct {
	Data      string        `name:"data" help:"Folder of the node's state. By default one for each project below the user's data folder." placeholder:"FOLDER"`
	Drain     time.Duration `name:"drain" help:"How long calls in hand may take to finish at shutdown." default:"30s"`
	SecretKey string        `name:"secret-key" help:"File with the key of the secrets. By default secret.key in the data folder, made when needed." placeholder:"FILE"`
	Dev       bool          `name:"dev" help:"Development mode: errors in full and a line for each call."`

	Labels []string `name:"labels" help:"Labels of the node as NAME=VALUE, comma-separated: functions that ask for labels run where they are." placeholder:"NAME=VALUE"`

	Log     Log `embed:"" prefix:"log."`
	Server  `embed:""`
	Bus     Bus     `embed:"" prefix:"bus."`
	Gateway Gateway `embed:"" prefix:"gateway."`
	Admin   Admin   `embed:"" prefix:"admin."`
}

// Log says what is logged and how.
type Log struct {
	Level  string `name:"level" help:"Least level that is logged: debug, info, warn or error." default:"info" enum:"debug,info,warn,error"`
	Format string `name:"format" help:"Form of the log: text, json, or auto for text on a terminal." default:"auto" enum:"auto,text,json"`
}

// Server says how to reach an existing NATS server. Client commands need this
// group alone.
type Server struct {
	NATS     string `name:"nats" help:"URL of an existing NATS server or, comma-separated, of a cluster. Empty runs one in the node." placeholder:"URL"`
	Creds    string `name:"creds" help:"Credentials file for the server (user JWT and seed)." placeholder:"FILE"`
	User     string `name:"user" help:"User at the server." placeholder:"NAME"`
	Password string `name:"password" help:"Password at the server." placeholder:"TEXT" secret:""`
	Token    string `name:"token" help:"Token for the server." placeholder:"TEXT" secret:""`
	Context  string `name:"context" help:"Name of a context of the nats command to connect with." placeholder:"NAME"`
	TLS      TLS    `embed:"" prefix:"tls."`
}

// TLS names the files for TLS to an existing server.
type TLS struct {
	Cert string `name:"cert" help:"Client certificate for the server (PEM)." placeholder:"FILE"`
	Key  string `name:"key" help:"Key of the client certificate (PEM)." placeholder:"FILE"`
	CA   string `name:"ca" help:"Certificates that the server's must descend from (PEM)." placeholder:"FILE"`
}

// Bus is about the embedded NATS server, except Connections and Wait. The rest is
// ignored when Server names an existing one.
type Bus struct {
	Addr        string        `name:"addr" help:"Address of the embedded NATS server." default:"127.0.0.1:4222"`
	Monitor     string        `name:"monitor" help:"Address of its HTTP monitoring. Empty for none." placeholder:"HOST:PORT"`
	Trace       bool          `name:"trace" help:"Print every message of its clients, as nats-server -DV does."`
	User        string        `name:"user" help:"User that its clients must give." placeholder:"NAME"`
	Password    string        `name:"password" help:"Password of that user." placeholder:"TEXT" secret:""`
	Token       string        `name:"token" help:"Token that its clients must give." placeholder:"TEXT" secret:""`
	Open        bool          `name:"open" help:"Let anybody connect who reaches an address beyond this machine."`
	Store       Bytes         `name:"store" help:"Most bytes it keeps on disk. 0 goes by the free space." default:"0"`
	Memory      Bytes         `name:"memory" help:"Most bytes it keeps in memory streams." default:"256MiB" above0:""`
	Connections int           `name:"connections" help:"Connections that carry calls." default:"1" above0:""`
	Wait        time.Duration `name:"wait" help:"How long a start waits for an existing server." default:"5s"`
}

// Gateway is the public HTTP door.
type Gateway struct {
	Addr          string        `name:"addr" help:"Address of the gateway." default:"127.0.0.1:8080"`
	Cert          string        `name:"cert" help:"Certificate to serve HTTPS with (PEM)." placeholder:"FILE"`
	Key           string        `name:"key" help:"Key of the certificate (PEM)." placeholder:"FILE"`
	Open          bool          `name:"open" help:"Serve anybody who reaches an address beyond this machine."`
	Expose        []string      `name:"expose" help:"Services that /svc and metadata routes reach, comma-separated; * is all. By default all while bus and gateway are this machine's own, else none." placeholder:"NAME"`
	Hosts         []string      `name:"hosts" help:"Host names a gateway on this machine answers to besides localhost, comma-separated." placeholder:"HOST"`
	Trust         bool          `name:"trust" help:"Believe the X-Forwarded-* headers of clients, for use behind a proxy."`
	MaxBody       Bytes         `name:"maxbody" help:"Largest body of a request, in bytes." default:"64MiB" above0:""`
	MaxHeader     Bytes         `name:"maxheader" help:"Largest header of a request, in bytes." default:"16KiB" above0:""`
	InFlight      int           `name:"inflight" help:"Most calls on their way to one service or subject at once; fewer once its replies grow slow." default:"10000" above0:""`
	Timeout       time.Duration `name:"timeout" help:"How long a call may take where its route says nothing." default:"5s" above0:""`
	HeaderTimeout time.Duration `name:"headertimeout" help:"How long a client may take to send the header of a request." default:"10s" above0:""`
	IdleTimeout   time.Duration `name:"idletimeout" help:"How long a connection without requests is kept." default:"2m" above0:""`
	BodyTimeout   time.Duration `name:"bodytimeout" help:"How long a client may take to send the body of a request." default:"30s" above0:""`
	WriteTimeout  time.Duration `name:"writetimeout" help:"How long a client may take to take an answer." default:"30s" above0:""`
	Local         bool          `name:"local" help:"Call the functions of this node without NATS in between. Off sends all calls over NATS, as other nodes do." default:"true"`
	Front         bool          `name:"front" help:"Serve plain HTTP/1.1 requests with Mayfly's own fast server. Off leaves everything to Go's net/http." default:"true"`
	AccessLog     bool          `name:"accesslog" help:"Log a line for each request." default:"true"`
}

// Admin is the private HTTP door: metrics, profiles and the console.
type Admin struct {
	Addr string `name:"addr" help:"Address of the admin door; off for none." default:"127.0.0.1:8081"`
}

// AdminOff is the Admin.Addr that means none.
const AdminOff = "off"

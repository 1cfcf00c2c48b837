package config

import "time"

// Config is everything that can be set on a node. Its tags are one table, read by Load
// and by the command line (kong):
//
//	name    of the key, after the prefix of its group
//	help    one line with the unit
//	default value
//	enum    the only values allowed
//	secret  never shown
//	above0  zero is an error too, as negative numbers are for every key
type Config struct {
	Data      string        `name:"data" help:"Folder for the node's state. By default one per project in the user's data folder." placeholder:"FOLDER"`
	Drain     time.Duration `name:"drain" help:"Time for running calls to finish at shutdown." default:"30s"`
	SecretKey string        `name:"secret-key" help:"File with the key that encrypts secrets. By default secret.key in the data folder, created on first use." placeholder:"FILE"`
	Dev       bool          `name:"dev" help:"Development mode: full errors and a line per call."`

	Labels []string `name:"labels" help:"Labels of the node, comma-separated. Functions with labels run only on nodes that have them." placeholder:"NAME=VALUE"`

	Log     Log `embed:"" prefix:"log."`
	Server  `embed:""`
	Bus     Bus     `embed:"" prefix:"bus."`
	Gateway Gateway `embed:"" prefix:"gateway."`
	Admin   Admin   `embed:"" prefix:"admin."`
}

// Log configures logging.
type Log struct {
	Level  string `name:"level" help:"Lowest level to log: debug, info, warn or error." default:"info" enum:"debug,info,warn,error"`
	Format string `name:"format" help:"Log format: text, json, or auto (text on a terminal, else json)." default:"auto" enum:"auto,text,json"`
}

// Server is how to reach an existing NATS server. It is all that client commands need.
type Server struct {
	NATS     string `name:"nats" help:"URL of an existing NATS server, or of several in a cluster, comma-separated. Without it the node runs its own." placeholder:"URL"`
	Creds    string `name:"creds" help:"Credentials file for the server (user JWT and seed)." placeholder:"FILE"`
	User     string `name:"user" help:"User name for the server." placeholder:"NAME"`
	Password string `name:"password" help:"Password for the server." placeholder:"TEXT" secret:""`
	Token    string `name:"token" help:"Token for the server." placeholder:"TEXT" secret:""`
	Context  string `name:"context" help:"Context of the nats command to connect with." placeholder:"NAME"`
	Core     Core   `embed:"" prefix:"core."`
	TLS      TLS    `embed:"" prefix:"tls."`
}

// Core is how to log in to the account of Mayfly's own state. If several are set, the
// last counts.
type Core struct {
	Key     string `name:"key" help:"File with the key of that account on a node's server. By default core.key in the data folder of the node on this machine." placeholder:"FILE"`
	Creds   string `name:"creds" help:"Credentials file for that account on an existing server. Without it, state and users share an account." placeholder:"FILE"`
	Context string `name:"context" help:"Context of the nats command for that account." placeholder:"NAME"`
}

// TLS is the files for TLS to an existing server.
type TLS struct {
	Cert string `name:"cert" help:"Client certificate for the server (PEM)." placeholder:"FILE"`
	Key  string `name:"key" help:"Key of the client certificate (PEM)." placeholder:"FILE"`
	CA   string `name:"ca" help:"Certificate authorities to verify the server with (PEM)." placeholder:"FILE"`
}

// Bus configures the embedded NATS server. When Server names an existing one, only
// Connections and Wait apply.
type Bus struct {
	Addr        string        `name:"addr" help:"Address of the embedded NATS server." default:"127.0.0.1:4222"`
	Monitor     string        `name:"monitor" help:"Address of its HTTP monitoring. Off if empty." placeholder:"HOST:PORT"`
	Trace       bool          `name:"trace" help:"Print every client message, like nats-server -DV."`
	User        string        `name:"user" help:"User name that its clients need." placeholder:"NAME"`
	Password    string        `name:"password" help:"Password of that user." placeholder:"TEXT" secret:""`
	Token       string        `name:"token" help:"Token that its clients need." placeholder:"TEXT" secret:""`
	Open        bool          `name:"open" help:"Allow connections from other machines without a login, also to bus.monitor."`
	Store       Bytes         `name:"store" help:"Maximum size of its store on disk. 0 means 80% of the free space." default:"0"`
	Memory      Bytes         `name:"memory" help:"Maximum size of its streams in memory." default:"256MiB" above0:""`
	Connections int           `name:"connections" help:"Number of connections that carry calls." default:"1" above0:""`
	Wait        time.Duration `name:"wait" help:"Time to wait for an existing server at startup." default:"5s"`
}

// Gateway configures the public HTTP door.
type Gateway struct {
	Addr          string        `name:"addr" help:"Address of the gateway." default:"127.0.0.1:8080"`
	Cert          string        `name:"cert" help:"Certificate for HTTPS (PEM)." placeholder:"FILE"`
	Key           string        `name:"key" help:"Key of the certificate (PEM)." placeholder:"FILE"`
	Open          bool          `name:"open" help:"Allow requests from other machines, without authentication."`
	Expose        []string      `name:"expose" help:"Services to expose through /svc and metadata routes, comma-separated; * for all. By default all if bus and gateway are local to this machine, else none." placeholder:"NAME"`
	Hosts         []string      `name:"hosts" help:"Host names that a local gateway accepts besides localhost, comma-separated." placeholder:"HOST"`
	Trust         bool          `name:"trust" help:"Trust X-Forwarded-* request headers, for use behind a proxy."`
	MaxBody       Bytes         `name:"maxbody" help:"Maximum size of a request body." default:"64MiB" above0:""`
	MaxHeader     Bytes         `name:"maxheader" help:"Maximum size of request headers." default:"16KiB" above0:""`
	InFlight      int           `name:"inflight" help:"Maximum number of calls in flight to one service or subject. Lower while its replies are slow." default:"10000" above0:""`
	Timeout       time.Duration `name:"timeout" help:"Timeout of calls whose route sets none." default:"5s" above0:""`
	HeaderTimeout time.Duration `name:"headertimeout" help:"Time for a client to send the request headers." default:"10s" above0:""`
	IdleTimeout   time.Duration `name:"idletimeout" help:"Time to keep an idle connection open." default:"2m" above0:""`
	BodyTimeout   time.Duration `name:"bodytimeout" help:"Time for a client to send the request body." default:"30s" above0:""`
	WriteTimeout  time.Duration `name:"writetimeout" help:"Time for a client to read the response." default:"30s" above0:""`
	Local         bool          `name:"local" help:"Call functions on this node directly. Off sends all calls over NATS, as other nodes do." default:"true"`
	Front         bool          `name:"front" help:"Serve plain HTTP/1.1 requests with Mayfly's own fast server. Off leaves everything to Go's net/http." default:"true"`
	AccessLog     bool          `name:"accesslog" help:"Log a line for each request." default:"true"`
}

// Admin configures the private HTTP door: metrics, profiles and the console.
type Admin struct {
	Addr string `name:"addr" help:"Address of the admin server, or off." default:"127.0.0.1:8081"`
	Open bool   `name:"open" help:"Allow requests from other machines, without authentication."`
}

// AdminOff is the Admin.Addr that disables it.
const AdminOff = "off"

// Package config reads what differs from one deployment of a service to the next
// from its environment or a file, and opens the transport that a URL names.
//
//	settings := config.Settings{Subscriber: redis.SubscriberConfig{Group: "mailer"}} // defaults
//	if err := settings.ReadEnv("EVENTS", os.Environ()); err != nil {
//		return err // all that is wrong, by key
//	}
//	transport, err := settings.Open() // redis://…, memory:// or console://
//
// There is one rule for names: a setting is called by its path in [Settings].
// Router.HandlerTimeout is EVENTS_ROUTER_HANDLER_TIMEOUT in the environment and
// {"router":{"handlerTimeout":"30s"}} in a file. So what a setting means, and what
// its zero value does, says the field that it sets. docs/CONFIGURATION.md lists all
// of them.
//
// It imports all transports, which services that wire their own need not: they call
// the constructors, as the rest of the documentation does.
package config

import (
	"fmt"
	"net/url"

	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
)

// Settings is what a deployment may set: the fields of its members that are text,
// numbers, switches, durations, and lists or maps of those. Others (clients,
// functions, loggers) are the program's. Fill in defaults, read, [Settings.Open] the
// transport, and pass the members to their constructors:
//
//	settings.Router.Subscriber = transport.Subscriber
//	r, err := router.New(settings.Router)
type Settings struct {
	// URL names the transport. See [Settings.Open].
	URL URL
	// Publisher is for events.NewPublisher.
	Publisher events.PublisherConfig
	// Subscriber is for Open. The memory transport takes what it has of it.
	Subscriber redis.SubscriberConfig
	// Router is for router.New.
	Router router.Config
	// Retry is for middleware.Retry.
	Retry middleware.RetryConfig
	// Batching is for batching.NewPublisher.
	Batching batching.Config
}

// URL is the URL of a transport. It may hold a password: however it is printed,
// logged or marshalled, only scheme, user, host and path are shown.
type URL string

// String returns the URL without password and parameters.
func (u URL) String() string {
	parsed, err := url.Parse(string(u))
	switch {
	case u == "":
		return ""
	case err != nil || parsed.Scheme == "":
		return "[a URL that cannot be parsed]" // Any part of it may be one of the password.
	}
	parsed.RawQuery, parsed.Fragment = "", ""
	return parsed.Redacted()
}

// GoString returns what String does, for %#v.
func (u URL) GoString() string { return fmt.Sprintf("%q", u.String()) }

// MarshalText returns what String does.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

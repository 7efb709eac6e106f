package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/console"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// Transport is what [Settings.Open] has opened. Close it when nothing uses it any
// more.
type Transport struct {
	Publisher message.Publisher
	// Subscriber is nil if Settings.Subscriber has no Group, for services that only
	// publish. The console's needs none.
	Subscriber message.Subscriber
	// Redis is the client, on Redis: for stores, limiters, inspectors and health
	// checks.
	Redis goredis.UniversalClient
	// Memory is the broker, in memory.
	Memory *memory.Broker

	close []func() error
}

// Close closes what was opened, the Redis client last.
func (t *Transport) Close() error {
	var errs []error
	for _, c := range t.close {
		errs = append(errs, c())
	}
	t.close = nil
	return errors.Join(errs...)
}

// Open opens the transport that the URL names. It connects to nothing yet.
//
//	redis://user:password@host:6379/0    Redis; rediss:// over TLS, unix:// by a socket
//	redis+cluster://host:6379?addr=…     Redis Cluster; rediss+cluster:// over TLS
//	redis+sentinel://host:26379?master_name=…   by Sentinel; rediss+sentinel:// over TLS
//	memory://?maxLen=100000              in this process; gone when it ends
//	console://stdout?format=json         prints events: pretty, line or json; or console://stderr. What
//	                                     is subscribed to are JSON lines on the standard input
//
// The parameters of Redis URLs are those of go-redis (ParseURL, ParseClusterURL,
// ParseFailoverURL), such as pool_size and read_timeout. Characters of a password
// that mean something in URLs must be escaped.
//
// The error is a *events.ConfigError, and shows no password. Close what it returns.
func (s *Settings) Open() (*Transport, error) {
	u, err := url.Parse(string(s.URL))
	switch {
	case s.URL == "":
		return nil, &events.ConfigError{Field: "config.Settings.URL", Value: "", Problem: "is empty", Remedy: "set it, such as to redis://localhost:6379/0, memory:// or console://"}
	case err != nil: // The error itself quotes parts, which may be of the password.
		return nil, badURL(s.URL, "is no URL", "escape characters of the password that mean something in URLs, such as / as %2F")
	}
	t := &Transport{}
	switch u.Scheme {
	case "memory":
		err = t.onMemory(s, u)
	case "console":
		err = t.onConsole(s, u)
	case "redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel":
		err = t.onRedis(s, u)
	default:
		err = badURL(s.URL, "has a scheme that is no transport of this library", "use redis, rediss, unix, redis+cluster, redis+sentinel, memory or console, or make the publisher and subscriber yourself")
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func badURL(u URL, problem, remedy string) error {
	return &events.ConfigError{Field: "config.Settings.URL", Value: cmp.Or(u.String(), "[not shown]"), Problem: problem, Remedy: remedy}
}

func (t *Transport) onRedis(s *Settings, u *url.URL) error {
	client, err := redisClient(s.URL, *u)
	if err != nil {
		return err
	}
	t.Redis = client
	t.close = append(t.close, client.Close)
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		return err
	}
	t.Publisher = pub
	t.close = append([]func() error{pub.Close}, t.close...)
	if s.Subscriber.Group == "" {
		return nil
	}
	cfg := s.Subscriber
	cfg.Client = client
	sub, err := redis.NewSubscriber(cfg)
	if err != nil {
		return err
	}
	t.Subscriber = sub
	t.close = append([]func() error{sub.Close}, t.close...)
	return nil
}

func redisClient(shown URL, u url.URL) (goredis.UniversalClient, error) {
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	if kind == "sentinel" && u.Query().Get("master_name") == "" {
		return nil, badURL(shown, "names no primary", "add ?master_name=…, the name by which the sentinels know it")
	}
	bare := u
	bare.RawQuery = ""
	if _, err := parseRedis(kind, bare.String()); err != nil {
		// What go-redis says quotes the path, which may be the rest of an unescaped password.
		return nil, badURL("", "names no Redis server", "use redis://user:password@host:6379/0, and escape characters of the password that mean something in URLs")
	}
	open, err := parseRedis(kind, u.String())
	if err != nil {
		return nil, badURL(shown, "has parameters that are not understood: "+err.Error(), "see go-redis's ParseURL for those that exist")
	}
	return open(), nil
}

// parseRedis returns how to make the client of a URL.
func parseRedis(kind, text string) (open func() goredis.UniversalClient, err error) {
	switch kind {
	case "cluster":
		o, err := goredis.ParseClusterURL(text)
		return func() goredis.UniversalClient { return goredis.NewClusterClient(o) }, err
	case "sentinel":
		o, err := goredis.ParseFailoverURL(text)
		return func() goredis.UniversalClient { return goredis.NewFailoverClient(o) }, err
	}
	o, err := goredis.ParseURL(text)
	return func() goredis.UniversalClient { return goredis.NewClient(o) }, err
}

func (t *Transport) onMemory(s *Settings, u *url.URL) error {
	var cfg memory.BrokerConfig
	query, err := parameters(s.URL, u, "maxLen")
	if err != nil {
		return err
	}
	if text := query.Get("maxLen"); text != "" {
		if cfg.MaxLen, err = strconv.Atoi(text); err != nil || cfg.MaxLen < 1 {
			return badURL(s.URL, "has a maxLen that is no number over 0", "set it to how many messages a topic keeps")
		}
	}
	if u.Host != "" || strings.Trim(u.Path, "/") != "" {
		return badURL(s.URL, "names a place", "use memory:// alone: each Open has a broker of its own")
	}
	t.Memory = memory.NewBroker(cfg)
	pub, err := memory.NewPublisher(t.Memory)
	if err != nil {
		return err
	}
	t.Publisher = pub
	t.close = append(t.close, pub.Close)
	if s.Subscriber.Group == "" {
		return nil
	}
	sub, err := memory.NewSubscriber(t.Memory, memory.SubscriberConfig{
		Group: s.Subscriber.Group, Start: s.Subscriber.Start, Lease: s.Subscriber.Lease,
		DeadLetterTopic: s.Subscriber.DeadLetterTopic, MaxInFlight: s.Subscriber.MaxInFlight,
		NackDelay: s.Subscriber.NackDelay, Logger: s.Subscriber.Logger,
	})
	if err != nil {
		return err
	}
	t.Subscriber = sub
	t.close = append([]func() error{sub.Close}, t.close...)
	return nil
}

func (t *Transport) onConsole(s *Settings, u *url.URL) error {
	query, err := parameters(s.URL, u, "format")
	if err != nil {
		return err
	}
	out, ok := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}[cmp.Or(u.Host, "stdout")]
	if !ok || strings.Trim(u.Path, "/") != "" {
		return badURL(s.URL, "names no output", "use console://stdout or console://stderr")
	}
	format, ok := map[string]console.Format{"pretty": console.Pretty, "line": console.Line, "json": console.JSON}[cmp.Or(query.Get("format"), "pretty")]
	if !ok {
		return badURL(s.URL, "has a format that does not exist", "use ?format=pretty, line or json")
	}
	pub, err := console.NewPublisher(console.PublisherConfig{Writer: out, Format: format})
	if err != nil {
		return err
	}
	sub, err := console.NewSubscriber(console.SubscriberConfig{NackDelay: s.Subscriber.NackDelay, Logger: s.Subscriber.Logger})
	if err != nil {
		return errors.Join(err, pub.Close())
	}
	t.Publisher, t.Subscriber = pub, sub
	t.close = append(t.close, sub.Close, pub.Close)
	return nil
}

// parameters refuses those that are not known.
func parameters(shown URL, u *url.URL, known string) (url.Values, error) {
	query := u.Query()
	for name := range query {
		if name != known {
			return nil, badURL(shown, fmt.Sprintf("has an unknown parameter %q", name), fmt.Sprintf("there is %q alone", known))
		}
	}
	return query, nil
}

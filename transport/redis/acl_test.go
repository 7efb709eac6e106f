package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/transport/transporttest"
	goredis "github.com/redis/go-redis/v9"
)

// limited opens a client, by TLS, of a user that has just these rules.
func (f *secureFixture) limited(name string, rules []string) *goredis.Client {
	f.t.Helper()
	f.check(f.client.ACLSetUser(f.t.Context(), name, append([]string{"reset", "on", ">secret"}, rules...)...).Err())
	client := goredis.NewClient(&goredis.Options{
		Addr: f.secureAddr, TLSConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS12}, Username: name, Password: "secret", DisableIdentity: true, PoolSize: 100,
	})
	f.t.Cleanup(func() { f.check(client.Close()) })
	return client
}

// refused returns what the server has refused anybody.
func (f *fixture) refused() []string {
	f.t.Helper()
	log, err := f.client.ACLLog(f.t.Context(), 100).Result()
	f.check(err)
	var entries []string
	for _, e := range log {
		entries = append(entries, fmt.Sprintf("%s %s for %s", e.Reason, e.Object, e.Username))
	}
	return entries
}

func TestTheSuitePassesOverTLSWithTheLeastPrivileges(t *testing.T) {
	t.Parallel()
	f := newSecureFixture(t)
	t.Run("Transport", func(t *testing.T) {
		transporttest.Run(t, harnessOf(
			f.limited("publisher", redis.PublisherACL("topic-*")),
			f.limited("subscriber", redis.SubscriberACL("*", "topic-*")),
			f.client,
		))
	})
	if refused := f.refused(); len(refused) > 0 {
		t.Errorf("the server has refused %q", refused)
	}
}

func TestEffectsHappenOnceWithTheLeastPrivileges(t *testing.T) {
	t.Parallel()
	f := newSecureFixture(t)
	client := f.limited("once", redis.EffectsOnceACL("g", "mailer:", []string{"t"}, []string{"u"}))
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client, KeyPrefix: "mailer:"})
	f.check(err)
	f.check(f.publisher(f.client).Publish("t", numbered(3)...))
	r, pub := f.open(redis.SubscriberConfig{Client: client, Lease: time.Minute}, "t"), f.publisher(client)
	for _, settle := range []func(*transport.Delivery) transport.Outcome{
		func(d *transport.Delivery) transport.Outcome { return d.DeadLetter(errors.New("bad")) },
		func(d *transport.Delivery) transport.Outcome {
			o := d.Ack()
			o.Produced = &transport.Produced{Publisher: pub, Topic: "u", Messages: numbered(2)}
			return o
		},
	} {
		d := f.receive(r)
		transport.NewLot(&transport.Route{Publisher: pub, Topic: "u"}, []*transport.Delivery{d})
		c := claimOf(d.Message.UUID, "a")
		f.wantBegin(store, c, "started")
		d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true})
		f.check(r.Settle(t.Context(), settle(d)))
	}
	if n := f.client.XLen(t.Context(), "u").Val(); n != 2 {
		t.Errorf("%d published", n)
	}
	d, c := f.receive(r), claimOf("k", "a")
	transport.NewLot(&transport.Route{}, []*transport.Delivery{d})
	d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true, Since: time.Now()})
	f.check(r.Settle(t.Context(), d.Ack()))
	if multi, exec := f.calls("multi"), f.calls("exec"); multi != 1 || exec != 1 {
		t.Errorf("%d transactions begun, %d ended", multi, exec)
	}
	if refused := f.refused(); len(refused) > 0 {
		t.Errorf("the server has refused %q", refused)
	}
}

// Each command that the rules allow is run by what consumers live through, so that
// without it something would not work; and none is run that they do not allow.
func TestTheRulesAllowWhatIsUsedAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newSecureFixture(t)
	rules := map[string][]string{"publisher": redis.PublisherACL("t"), "subscriber": redis.SubscriberACL("g", "t"), "idempotency": redis.IdempotencyACL(""), "limiter": redis.LimiterACL("")}
	pub := f.publisher(f.limited("publisher", rules["publisher"]))
	client := f.limited("subscriber", rules["subscriber"])
	ctx := t.Context()
	f.do("CONFIG", "RESETSTAT")

	f.check(pub.Publish("t", numbered(6)...))
	open := func() transport.Receiver {
		return f.open(redis.SubscriberConfig{Client: client, Lease: 500 * time.Millisecond}, "t")
	}
	crashed := open()
	f.receive(crashed)
	f.eventually("all are read", func() bool { return f.pending() == 6 })
	redis.Crash(crashed)
	r := open()
	var held []*transport.Delivery
	for range 5 { // reclaimed
		held = append(held, f.receive(r))
	}
	redis.Renew(r)
	f.check(r.Settle(ctx, held[0].Ack(), held[1].Retry(0, nil), held[2].Retry(0, nil), held[3].DeadLetter(errors.New("bad")), held[4].Release()))
	for range 4 { // one of them the first time
		f.check(r.Settle(ctx, f.receive(r).Ack()))
	}
	f.check(f.packerOf(f.limited("publisher", rules["publisher"]), redis.PackConfig{}).Publish("t", numbered(3)...))
	f.check(r.Settle(ctx, f.receive(r).Ack())) // one of three
	redis.Crash(r)
	r = open()
	f.check(r.Settle(ctx, acks(f.receiveAll(r, 2))...))
	f.check(f.client.XGroupDestroy(ctx, "t", "g").Err())
	f.eventually("the group is there again", func() bool { return f.log.count("is created again") == 1 && f.consumers() > 0 })
	f.check(r.Close())
	r = f.open(redis.SubscriberConfig{Client: client, Exclusive: true}, "t")
	f.check(pub.Publish("t", numbered(1)...))
	f.check(r.Settle(ctx, f.receive(r).Ack()))
	f.check(r.Close())
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: f.limited("idempotency", rules["idempotency"])})
	f.check(err)
	for _, end := range []func(context.Context, transport.Claim) error{
		store.Abort, func(ctx context.Context, c transport.Claim) error { return store.Done(ctx, c, nil) },
	} {
		c := transport.Claim{Key: "k", Token: "token", Lease: time.Hour, Keep: time.Hour}
		_, err := store.Begin(ctx, c)
		f.check(errors.Join(err, end(ctx, c)))
	}

	limiter, err := redis.NewLimiter(redis.LimiterConfig{Client: f.limited("limiter", rules["limiter"]), Rate: 1})
	f.check(err)
	_, ok, err := limiter.Take(ctx, "k", 0)
	f.check(errors.Join(err, limiter.Close()))
	if !ok {
		t.Error("no turn")
	}

	if refused := f.refused(); len(refused) > 0 {
		t.Errorf("the server has refused %q", refused)
	}
	for user, all := range rules {
		for _, rule := range all {
			command, ok := strings.CutPrefix(rule, "+")
			if ok && command != "xlen" && f.calls(command) == 0 {
				t.Errorf("%s: %s is allowed and not used", user, command)
			}
		}
	}
	// What is not allowed is refused, which is what the above relies on.
	for name, err := range map[string]error{
		"another topic":      pub.Publish("u", numbered(1)...),
		"reading a topic":    f.limited("publisher", rules["publisher"]).XRange(ctx, "t", "-", "+").Err(),
		"deleting a topic":   client.Del(ctx, "t").Err(),
		"another group's":    client.XLen(ctx, "{t}:retry:other").Err(),
		"everything":         client.FlushAll(ctx).Err(),
		"another key":        client.HGet(ctx, "u", "field").Err(),
		"the group of other": client.XGroupDestroy(ctx, "t", "g").Err(),
	} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// docs/SECURITY.md shows the rules of a publisher and of a consumer as they are.
func TestTheDocumentShowsTheRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\\\n", " ")), " ")
	for user, rules := range map[string][]string{
		"billing": redis.PublisherACL("user-events"), "mailer": redis.SubscriberACL("mailer", "user-events"), "mailer-idempotency": redis.IdempotencyACL("mailer:"),
	} {
		if want := "ACL SETUSER " + user + " on >secret " + strings.Join(rules, " "); !strings.Contains(shown, want) {
			t.Errorf("docs/SECURITY.md has not:\n%s", want)
		}
	}
}

func leastPrivileges(c *cluster) {
	const topic = "private-events"
	ctx := c.t.Context()
	client := func(name string, rules []string) *goredis.ClusterClient {
		for _, node := range c.nodes {
			c.check(node.ACLSetUser(ctx, name, append([]string{"reset", "on", ">secret"}, append(rules, "+cluster|slots", "+command", "+asking")...)...).Err())
		}
		opts := *c.client.Options()
		opts.Username, opts.Password, opts.DisableIdentity = name, "secret", true
		client := goredis.NewClusterClient(&opts)
		c.t.Cleanup(func() { c.check(client.Close()) })
		return client
	}
	pub := c.publisher(client("publisher", redis.PublisherACL(topic)))
	other := *c
	other.client = client("subscriber", redis.SubscriberACL("g", topic))
	r, _ := other.open(redis.SubscriberConfig{Lease: time.Minute}, topic)
	slot := c.slot(topic)
	from := owner(slot)
	for i, move := range [][2]int{{from, (from + 1) % 3}, {(from + 1) % 3, from}} {
		c.move(slot, move[0], move[1])
		for range 3 {
			c.check(pub.Publish(topic, message.NewMessage(fmt.Sprint(i), nil)))
		}
		a, b, d := c.receive(r), c.receive(r), c.receive(r)
		c.check(r.Settle(within(c.t, 20*time.Second), a.Retry(0, nil), b.DeadLetter(errors.New("bad")), d.Ack()))
		c.check(r.Settle(within(c.t, 20*time.Second), c.receive(r).Ack()))
	}
	for _, node := range c.nodes {
		for _, e := range node.ACLLog(ctx, 100).Val() {
			c.t.Errorf("%s %s is refused", e.Reason, e.Object)
		}
	}
}

package redis_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func (f *fixture) inspector() *redis.Inspector {
	f.t.Helper()
	i, err := redis.NewInspector(redis.InspectorConfig{Client: f.client})
	f.check(err)
	return i
}

// inspect looks at topic t.
func (f *fixture) inspect() redis.TopicInfo {
	f.t.Helper()
	info, err := f.inspector().Topic(f.t.Context(), "t")
	f.check(err)
	return info
}

func TestWhatThereIsOfATopicIsTold(t *testing.T) {
	f := newFixture(t)
	start := f.now().Truncate(time.Millisecond)
	r := f.receiver(redis.SubscriberConfig{Consumer: "c", Prefetch: 4, Lease: time.Minute})
	for i := range 4 {
		f.publish(fmt.Sprint(i))
	}
	var held []*transport.Delivery
	for range 4 {
		held = append(held, f.receive(r))
	}
	f.check(r.Settle(t.Context(), held[0].Ack(), held[1].Retry(time.Hour, errors.New("later")), held[2].DeadLetter(errors.New("bad"))))
	redis.Crash(r)
	f.publish("unread", "unread too")
	f.group("other", "$")
	info := f.inspect()
	entries := f.entries("t")
	first, last := entries[0].ID, entries[5].ID
	if info.Topic != "t" || info.Length != 6 || info.FirstID != first || info.LastID != last || info.DeadLetters != 1 || info.Bytes < 100 {
		t.Errorf("topic %+v", info)
	}
	if info.First.Before(start) || info.First.After(f.now()) || info.Last.Before(info.First) || info.Last.After(f.now()) {
		t.Errorf("first stored at %v, last at %v; began at %v", info.First, info.Last, start)
	}
	if len(info.Groups) != 2 {
		t.Fatalf("groups %+v", info.Groups)
	}
	slices.SortFunc(info.Groups, func(a, b redis.GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	g, other := info.Groups[0], info.Groups[1]
	if g.Name != "g" || g.Consumers != 1 || g.LastDelivered != entries[3].ID || g.Lag != (redis.Lag{Entries: 2, Kind: redis.LagCounted}) || g.Pending != 1 || g.Delayed != 1 || g.Retries != 0 {
		t.Errorf("group %+v", g)
	}
	if due := g.NextDue.Sub(start); due < time.Hour || due > time.Hour+time.Minute {
		t.Errorf("the retry is due in %v", due)
	}
	p := g.Oldest
	if p == nil || p.ID != held[3].ID || !p.Stored.Equal(held[3].Stored) || p.Consumer != "c" || p.Deliveries != 1 || p.Idle < 0 || p.Idle > time.Minute {
		t.Errorf("oldest pending %+v", p)
	}
	if other.Name != "other" || other.Lag != (redis.Lag{Kind: redis.LagCounted}) || other.Oldest != nil || !other.NextDue.IsZero() || other.Consumers != 0 {
		t.Errorf("other group %+v", other)
	}
}

func TestWhatWaitsInTheRetryStreamIsTold(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	r := f.receiver(redis.SubscriberConfig{})
	f.check(r.Settle(t.Context(), f.receive(r).Retry(0, nil)))
	d := f.receive(r)
	if g := f.inspect().Groups[0]; g.Retries != 1 || g.Delayed != 0 || g.Pending != 0 {
		t.Errorf("under way: %+v", g)
	}
	f.check(r.Settle(t.Context(), d.Ack()))
	if g := f.inspect().Groups[0]; g.Retries != 0 {
		t.Errorf("done: %+v", g)
	}
}

// The server's lag is 3 then in some versions: redis issue 13957.
func TestP15_LagIsCountedAfterTrimming(t *testing.T) {
	f := newFixture(t)
	f.fill(5)
	f.group("g", "0")
	f.read("g", "c", 1)
	f.check(f.client.XTrimMaxLen(t.Context(), "t", 1).Err())
	if g := f.inspect().Groups[0]; g.Lag != (redis.Lag{Entries: 1, Kind: redis.LagCounted}) {
		t.Errorf("one entry is left: %v", g.Lag)
	}
	f.read("g", "c", 1)
	info := f.inspect()
	if g := info.Groups[0]; g.Lag != (redis.Lag{Kind: redis.LagCounted}) || g.Lag.String() != "0" || g.Pending != 2 || g.Oldest.ID != "1-0" {
		t.Errorf("all is read: %v, pending %d, oldest %+v", g.Lag, g.Pending, g.Oldest)
	}
	t.Logf("this server says %d", f.client.XInfoGroups(t.Context(), "t").Val()[0].Lag)
	f.check(f.client.XTrimMaxLen(t.Context(), "t", 0).Err())
	if info = f.inspect(); info.Length != 0 || info.FirstID != "" || !info.First.IsZero() || !info.Last.IsZero() || info.Groups[0].Lag.String() != "0" {
		t.Errorf("an empty topic: %+v", info)
	}
}

func TestP15_LagIsUnknownWhereItIsTooLargeToCountAndTheServerCannotTell(t *testing.T) {
	f := newFixture(t)
	f.fill(1500)
	f.group("behind", "0")
	f.group("anywhere", "100-0")
	f.group("near", "500-0")                                             // 1000 left, as many as are counted
	known := f.client.XInfoGroups(t.Context(), "t").Val()[1].Lag == 1500 // not by Redis 6.2
	for _, g := range f.inspect().Groups {
		want := map[string]redis.Lag{
			"behind":   {Entries: 1500, Kind: redis.LagEstimated},
			"anywhere": {Entries: 1000, Kind: redis.LagUnknown},
			"near":     {Entries: 1000, Kind: redis.LagCounted},
		}[g.Name]
		text := map[string]string{"behind": "~1500", "anywhere": ">1000", "near": "1000"}[g.Name]
		if g.Name == "behind" && !known {
			want, text = redis.Lag{Entries: 1000, Kind: redis.LagUnknown}, ">1000"
		}
		if g.Lag != want || g.Lag.String() != text {
			t.Errorf("%s: %v, want %v", g.Name, g.Lag, text)
		}
	}
}

func TestLargeEntriesAreCountedOnlyInPart(t *testing.T) {
	f := newFixture(t)
	f.group("g", "0")
	for i := range 20 {
		f.check(f.pub.Publish("t", message.NewMessage(fmt.Sprint(i), make([]byte, 500_000))))
	}
	entries := f.entries("t")
	for read, want := range map[int][]redis.Lag{
		0:  {{Entries: 1, Kind: redis.LagUnknown}, {Entries: 20, Kind: redis.LagEstimated}},
		5:  {{Entries: 1, Kind: redis.LagUnknown}, {Entries: 15, Kind: redis.LagEstimated}},
		19: {{Entries: 1, Kind: redis.LagCounted}},
	} {
		last := "0"
		if read > 0 {
			last = entries[read-1].ID
		}
		f.check(f.client.XGroupSetID(t.Context(), "t", "g", last).Err())
		if g := f.inspect().Groups[0]; !slices.Contains(want, g.Lag) {
			t.Errorf("%d of 20 read: lag %v", read, g.Lag)
		}
	}
}

func TestWhatIsNotThereIsToldByTypedErrors(t *testing.T) {
	f := newFixture(t)
	i, ctx := f.inspector(), t.Context()
	if _, err := i.Topic(ctx, "t"); !errors.Is(err, redis.ErrNoTopic) || !strings.Contains(err.Error(), `"t"`) {
		t.Errorf("topic: %v", err)
	}
	groupErrors := func(what string) {
		t.Helper()
		_, pending := i.Pending(ctx, "t", "g", "", 1)
		_, consumers := i.Consumers(ctx, "t", "g")
		_, removed := i.RemoveIdleConsumers(ctx, "t", "g", 0)
		for _, err := range []error{pending, consumers, removed} {
			if !errors.Is(err, redis.ErrNoGroup) || !strings.Contains(err.Error(), `group "g" of "t"`) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	groupErrors("no topic")
	letters, err := i.DeadLetters(ctx, "t", "", 10)
	if err != nil || len(letters) != 0 {
		t.Errorf("dead letters: %v, %v", letters, err)
	}
	f.publish("1")
	groupErrors("no group")
	f.check(f.client.Set(ctx, "s", "a string", 0).Err())
	if _, err := i.Topic(ctx, "s"); err == nil || !strings.Contains(err.Error(), "rename it") || errors.Is(err, redis.ErrNoTopic) {
		t.Errorf("a string: %v", err)
	}
	f.check(f.client.Set(ctx, transport.DeadLetterTopic("t"), "a string", 0).Err())
	if _, err := i.Topic(ctx, "t"); err == nil || !strings.Contains(err.Error(), `key "t or {t}:dead-letters or {t}:*" is of another type`) {
		t.Errorf("dead letters of a wrong type: %v", err)
	}
	if _, err := i.DeadLetters(ctx, "t", "", 1); err == nil || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("dead letters of a wrong type: %v", err)
	}
	if n := f.client.DBSize(ctx).Val(); n != 3 {
		t.Errorf("%d keys, some of them made by looking", n)
	}
}

func TestAnInspectorThatCannotWorkIsRefused(t *testing.T) {
	_, err := redis.NewInspector(redis.InspectorConfig{})
	if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != "redis.InspectorConfig.Client" {
		t.Errorf("error %v", err)
	}
	f := newFixture(t)
	f.publish("1")
	i, err := redis.NewInspector(redis.InspectorConfig{Client: f.client, DeadLetterTopic: func(string) string { panic("boom") }})
	f.check(err)
	_, topic := i.Topic(t.Context(), "t")
	_, letters := i.DeadLetters(t.Context(), "t", "", 1)
	_, brace := f.inspector().Topic(t.Context(), "a}b")
	for _, err := range []error{topic, letters} {
		if _, ok := errors.AsType[*events.PanicError](err); !ok {
			t.Errorf("error %v", err)
		}
	}
	if _, ok := errors.AsType[*events.ConfigError](brace); !ok {
		t.Errorf("error %v", brace)
	}
}

func TestPendingEntriesAreListedInPages(t *testing.T) {
	f := newFixture(t)
	f.fill(5)
	f.group("g", "0")
	f.read("g", "c", 5)
	f.claim("d", "2-0", time.Hour)
	var got []redis.PendingInfo
	for after := ""; ; after = got[len(got)-1].ID {
		page, err := f.inspector().Pending(t.Context(), "t", "g", after, 2)
		f.check(err)
		if len(page) == 0 {
			break
		}
		if len(page) > 2 {
			t.Errorf("a page of %d", len(page))
		}
		got = append(got, page...)
	}
	if len(got) != 5 {
		t.Fatalf("pending %+v", got)
	}
	if p := got[0]; p.ID != "1-0" || !p.Stored.Equal(time.UnixMilli(1)) || p.Consumer != "c" || p.Deliveries != 1 || p.Idle > time.Minute {
		t.Errorf("first %+v", p)
	}
	if p := got[1]; p.ID != "2-0" || p.Consumer != "d" || p.Deliveries != 2 || p.Idle < time.Hour {
		t.Errorf("second %+v", p)
	}
	consumers, err := f.inspector().Consumers(t.Context(), "t", "g")
	f.check(err)
	if len(consumers) != 2 || consumers[0].Name != "c" || consumers[0].Pending != 4 || consumers[1].Pending != 1 || consumers[0].Idle > time.Minute {
		t.Errorf("consumers %+v", consumers)
	}
}

func TestDeadLettersAreListedNewestFirst(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	for i := range 3 {
		f.publish(fmt.Sprint(i))
		f.check(r.Settle(t.Context(), f.receive(r).DeadLetter(fmt.Errorf("cause %d", i))))
	}
	f.add("t", "garbage", "\x00")
	f.eventually("it is buried", func() bool { return f.inspect().DeadLetters == 4 })
	var got []redis.DeadLetter
	for before := ""; ; before = got[len(got)-1].ID {
		page, err := f.inspector().DeadLetters(t.Context(), "t", before, 3)
		f.check(err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
	}
	if len(got) != 4 {
		t.Fatalf("dead letters %+v", got)
	}
	if l := got[0]; l.Message != nil || !strings.HasPrefix(l.Reason, "not a message") || l.Values["garbage"] != "\x00" {
		t.Errorf("undecodable: %+v", l)
	}
	for i, l := range got[1:] {
		id := fmt.Sprint(2 - i)
		if l.Message == nil || l.Message.UUID != id || l.Reason != "cause "+id || l.Stored.IsZero() || f.now().Before(l.Stored) {
			t.Errorf("%s: %+v", id, l)
		}
	}
	f.trimTopic(transport.DeadLetterTopic("t"), 1)
	if page, err := f.inspector().DeadLetters(t.Context(), "t", "", 3); err != nil || len(page) != 1 || page[0].ID != got[0].ID {
		t.Errorf("after trimming: %v, %v", page, err)
	}
}

func (f *fixture) trimTopic(topic string, maxLen int64) {
	f.t.Helper()
	_, err := f.trimmer(redis.TrimmerConfig{Topics: []string{topic}, MaxLen: maxLen}).Trim(f.t.Context())
	f.check(err)
}

func TestTrimmerAndInspectorNeedNoMoreThanDocumented(t *testing.T) {
	f := newFixture(t)
	doc, err := os.ReadFile("../../docs/PRODUCTION.md")
	f.check(err)
	_, rules, _ := strings.Cut(string(doc), "ACL SETUSER keeper ")
	rules, _, _ = strings.Cut(rules, "\n")
	args := []any{"ACL", "SETUSER", "keeper"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	f.check(f.client.Do(t.Context(), args...).Err())
	keeper := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, Username: "keeper", Password: "secret"})
	defer func(admin *goredis.Client) {
		f.client = admin
		f.check(keeper.Close())
	}(f.client)
	f.fill(150)
	f.group("g", "0")
	f.read("g", "c", 1)
	f.add("{t}:retry:g", "a", "b")
	f.client = keeper
	if r := f.trim(redis.TrimmerConfig{MaxLen: 1, MaxAge: time.Hour, StaleAfter: time.Millisecond}); r.HeldBy != "g" {
		t.Errorf("report %+v", r)
	}
	f.inspect()
	_, pending := f.inspector().Pending(t.Context(), "t", "g", "", 1)
	_, consumers := f.inspector().Consumers(t.Context(), "t", "g")
	_, letters := f.inspector().DeadLetters(t.Context(), "t", "", 1)
	_, removed := f.inspector().RemoveIdleConsumers(t.Context(), "t", "g", 0)
	moved := f.inspector().MoveGroup(t.Context(), "t", "g", "0")
	f.check(errors.Join(pending, consumers, letters, removed, moved))
}

func TestTrimmerAndInspectorOnACluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	topics := []string{"user-events", "invoice-events", "{billing}-events"} // one on each node
	r, pub := c.open(redis.SubscriberConfig{Lease: time.Minute}, topics...)
	for _, topic := range topics {
		for i := range 20 {
			c.check(pub.Publish(topic, message.NewMessage(fmt.Sprint(i), nil)))
		}
	}
	for range 20 * len(topics) {
		d := c.receive(r)
		o := d.Ack()
		if d.Message.UUID == "15" {
			o = d.DeadLetter(errors.New("bad"))
		}
		if d.Message.UUID != "10" {
			c.check(r.Settle(t.Context(), o))
		}
	}
	trimmer, err := redis.NewTrimmer(redis.TrimmerConfig{Client: c.client, Topics: topics, Groups: []string{"g"}, MaxLen: 3})
	c.check(err)
	reports, err := trimmer.Trim(t.Context())
	c.check(err)
	inspector, err := redis.NewInspector(redis.InspectorConfig{Client: c.client})
	c.check(err)
	for i, topic := range topics {
		if r := reports[i]; r.Topic != topic || r.Removed != 10 || r.Length != 10 || r.HeldBy != "g" {
			t.Errorf("report %+v", r)
		}
		info, err := inspector.Topic(t.Context(), topic)
		c.check(err)
		if info.Length != 10 || info.DeadLetters != 1 || len(info.Groups) != 1 || info.Groups[0].Pending != 1 || info.Groups[0].Lag.String() != "0" {
			t.Errorf("topic %+v", info)
		}
		if _, err := inspector.RemoveIdleConsumers(t.Context(), topic, "g", time.Hour); err != nil {
			t.Error(err)
		}
	}
}

package redis_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// topicModel is what topic t should be. Entries have the ids ms-0 and are known
// by their ms, which are spread around now so that age matters.
type topicModel struct {
	f       *fixture
	next    int64 // ms of the next entry at the earliest
	entries []int64
	groups  map[string]*groupModel
}

type groupModel struct {
	last    int64 // ms of the entry delivered last
	pending map[int64]bool
}

// needs reports whether an entry is unread or unsettled.
func (g *groupModel) needs(ms int64) bool { return ms > g.last || g.pending[ms] }

func entryID(ms int64) string { return fmt.Sprint(ms, "-0") }

func entryMS(id string) (ms int64) {
	if _, err := fmt.Sscanf(id, "%d-0", &ms); err != nil {
		panic(err)
	}
	return ms
}

var groupNames = []string{"a", "b", "c"}

// pick returns one of the groups that exist.
func (m *topicModel) pick(t *rapid.T) (string, *groupModel) {
	names := slices.Sorted(maps.Keys(m.groups))
	if len(names) == 0 {
		t.Skip("no groups")
	}
	name := rapid.SampledFrom(names).Draw(t, "group")
	return name, m.groups[name]
}

// pickPending returns some of the pending entries of a group.
func (m *topicModel) pickPending(t *rapid.T) (string, *groupModel, []int64) {
	name, g := m.pick(t)
	pending := slices.Sorted(maps.Keys(g.pending))
	if len(pending) == 0 {
		t.Skip("nothing pending")
	}
	return name, g, rapid.SliceOfNDistinct(rapid.SampledFrom(pending), 1, len(pending), rapid.ID).Draw(t, "entries")
}

func (m *topicModel) publish(t *rapid.T) {
	pipe := m.f.client.Pipeline()
	for range rapid.IntRange(1, 20).Draw(t, "count") {
		m.next += rapid.Int64Range(1, 60_000).Draw(t, "ms later")
		m.entries = append(m.entries, m.next)
		pipe.XAdd(m.f.t.Context(), &goredis.XAddArgs{Stream: "t", ID: entryID(m.next), Values: []string{"a", "b"}})
	}
	_, err := pipe.Exec(m.f.t.Context())
	m.f.check(err)
}

func (m *topicModel) create(t *rapid.T) {
	name := rapid.SampledFrom(groupNames).Draw(t, "group")
	if m.groups[name] != nil {
		t.Skip("it exists")
	}
	g := &groupModel{pending: map[int64]bool{}}
	start := rapid.SampledFrom([]string{"0", "$"}).Draw(t, "start")
	if start == "$" && m.next > 0 {
		g.last = m.next
	}
	m.groups[name] = g
	m.f.group(name, start)
}

func (m *topicModel) destroy(t *rapid.T) {
	name, _ := m.pick(t)
	delete(m.groups, name)
	m.f.check(m.f.client.XGroupDestroy(m.f.t.Context(), "t", name).Err())
}

func (m *topicModel) read(t *rapid.T) {
	name, g := m.pick(t)
	consumer := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "consumer")
	m.reads(t, name, g, consumer, rapid.IntRange(1, 30).Draw(t, "count"))
}

// reads reads, and makes sure that what comes is what is next.
func (m *topicModel) reads(t *rapid.T, name string, g *groupModel, consumer string, n int) {
	var want []int64
	for _, ms := range m.entries {
		if ms > g.last && len(want) < n {
			want = append(want, ms)
		}
	}
	var got []int64
	for _, id := range m.f.read(name, consumer, int64(n)) {
		got = append(got, entryMS(id))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("group %s reads %v, want %v", name, got, want)
	}
	for _, ms := range got {
		g.pending[ms], g.last = true, ms
	}
}

func (m *topicModel) ack(t *rapid.T) {
	name, g, picked := m.pickPending(t)
	for _, ms := range picked {
		delete(g.pending, ms)
		m.f.ack(name, entryID(ms))
	}
}

// retry does what retry.lua does: a copy of the entry waits elsewhere.
func (m *topicModel) retry(t *rapid.T) {
	name, g, picked := m.pickPending(t)
	delete(g.pending, picked[0])
	pipe := m.f.client.TxPipeline()
	pipe.HSet(m.f.t.Context(), "{t}:delayed:"+name, entryID(picked[0]), "a copy")
	pipe.XAck(m.f.t.Context(), "t", name, entryID(picked[0]))
	_, err := pipe.Exec(m.f.t.Context())
	m.f.check(err)
}

// claim is another consumer that takes over what a crashed one had.
func (m *topicModel) claim(t *rapid.T) {
	name, _ := m.pick(t)
	m.f.check(m.f.client.XAutoClaimJustID(m.f.t.Context(), &goredis.XAutoClaimArgs{Stream: "t", Group: name, Consumer: "z", Start: "0", Count: 10}).Err())
}

// rewind makes a group read again what it has read.
func (m *topicModel) rewind(t *rapid.T) {
	name, g := m.pick(t)
	g.last = rapid.Int64Range(max(g.last-600_000, 0), g.last).Draw(t, "last")
	m.f.check(m.f.client.XGroupSetID(m.f.t.Context(), "t", name, entryID(g.last)).Err())
}

// drop deletes an entry that nobody has pending, from anywhere.
func (m *topicModel) drop(t *rapid.T) {
	if len(m.entries) == 0 {
		t.Skip("no entries")
	}
	i := rapid.IntRange(0, len(m.entries)-1).Draw(t, "entry")
	for _, g := range m.groups {
		if g.pending[m.entries[i]] {
			t.Skip("it is pending")
		}
	}
	m.f.check(m.f.client.XDel(m.f.t.Context(), "t", entryID(m.entries[i])).Err())
	m.entries = slices.Delete(m.entries, i, i+1)
}

func (m *topicModel) trim(t *rapid.T) {
	cfg := redis.TrimmerConfig{
		MaxLen: rapid.Int64Range(0, 100).Draw(t, "length"),
		MaxAge: time.Duration(rapid.Int64Range(0, 7200).Draw(t, "age")) * time.Second,
		Groups: rapid.SliceOfDistinct(rapid.SampledFrom(groupNames[:2]), rapid.ID).Draw(t, "declared"),
	}
	if cfg.MaxLen == 0 && cfg.MaxAge == 0 {
		cfg.MaxLen = 1
	}
	m.trims(t, cfg)
}

// trims trims, and makes sure that what goes are the oldest entries, all that are over
// a limit, as far as nobody needs one of them.
func (m *topicModel) trims(t *rapid.T, cfg redis.TrimmerConfig) {
	free := 0 // so many of the oldest entries are needed by nobody
	for free < len(m.entries) && !m.needed(m.entries[free], cfg.Groups) {
		free++
	}
	byLength, byAgeAtLeast, byAgeAtMost := 0, 0, 0
	if cfg.MaxLen > 0 {
		byLength = max(len(m.entries)-int(cfg.MaxLen), 0)
	}
	earliest := m.f.now()
	report := m.f.trim(cfg)
	latest := m.f.now()
	if cfg.MaxAge > 0 {
		byAgeAtLeast = m.olderThan(earliest.Add(-cfg.MaxAge))
		byAgeAtMost = m.olderThan(latest.Add(-cfg.MaxAge))
	}
	left := m.f.entries("t")
	removed := len(m.entries) - len(left)
	if removed < min(free, max(byLength, byAgeAtLeast)) || removed > min(free, max(byLength, byAgeAtMost)) {
		t.Fatalf("%d removed of %d, %d of which were free, %d too many, %d to %d too old", removed, len(m.entries), free, byLength, byAgeAtLeast, byAgeAtMost)
	}
	m.entries = m.entries[removed:]
	for i, e := range left {
		if e.ID != entryID(m.entries[i]) {
			t.Fatalf("%s is left, want %d", e.ID, m.entries[i])
		}
	}
	if report.Removed != int64(removed) || report.Length != int64(len(left)) {
		t.Fatalf("report %+v; %d removed, %d left", report, removed, len(left))
	}
	if over := max(byLength, byAgeAtLeast); over > free && report.HeldBy == "" {
		t.Fatalf("report %+v; %d entries over the limits stay", report, over-free)
	}
}

func (m *topicModel) needed(ms int64, declared []string) bool {
	for _, name := range declared {
		if m.groups[name] == nil {
			return true
		}
	}
	for _, g := range m.groups {
		if g.needs(ms) {
			return true
		}
	}
	return false
}

// olderThan is how many entries are older than a time, to the millisecond.
func (m *topicModel) olderThan(at time.Time) (n int) {
	for n < len(m.entries) && m.entries[n] < at.UnixMilli() {
		n++
	}
	return n
}

func TestTrimmingNeverRemovesWhatAGroupHasNotReadOrNotSettled(t *testing.T) {
	f := newFixture(t, "--appendonly", "no")
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		f.check(f.client.FlushAll(ctx).Err())
		f.check(f.client.ConfigSet(ctx, "stream-node-max-entries", rapid.SampledFrom([]string{"1", "3", "10", "100"}).Draw(rt, "entries of a node")).Err())
		m := &topicModel{f: f, next: f.now().Add(-time.Hour).UnixMilli(), groups: map[string]*groupModel{}}
		m.publish(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"publish": m.publish, "publish more": m.publish, "create": m.create, "destroy": m.destroy, "read": m.read, "read more": m.read, "ack": m.ack, "ack more": m.ack,
			"retry": m.retry, "claim": m.claim, "rewind": m.rewind, "delete": m.drop, "trim": m.trim, "trim again": m.trim,
		})
		for name, g := range m.groups {
			m.reads(rt, name, g, "x", len(m.entries)+1)
			for ms := range g.pending {
				f.ack(name, entryID(ms))
			}
			clear(g.pending)
		}
		m.trims(rt, redis.TrimmerConfig{MaxLen: 2})
	})
}

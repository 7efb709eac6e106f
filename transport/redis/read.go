package redis

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// reader reads the streams that one command may name.
type reader struct {
	*receiver
	streams []*stream
	outage  int                // failed reads since the last one of all streams
	healthy []*stream          // during an outage: those that can be read
	looked  time.Time          // when that was found out
	bad     map[*stream]string // what the keys of the others hold
}

// recheck is how often a stream that cannot be read is looked at again.
const recheck = 2 * time.Second

// run fetches new entries as long as there is room for them (XREADGROUP).
func (r *reader) run() {
	for r.ctx.Err() == nil {
		count := r.room(len(r.streams)/2, 1)
		if count == 0 {
			select {
			case <-r.taken:
			case <-r.ctx.Done():
			}
			continue
		}
		streams := r.streams
		if r.outage > 0 {
			if time.Since(r.looked) > recheck {
				r.look()
			}
			streams = r.healthy
		}
		err := errNoStream
		if len(streams) > 0 {
			err = r.fetch(streams, count)
		}
		switch {
		case err != nil:
			r.recover(err)
		case r.outage > 0 && len(streams) == len(r.streams):
			r.cfg.Logger.Info("redis: reading again", "group", r.cfg.Group)
			r.outage = 0
		}
	}
}

// room is how many entries of each of n topics there is room for, up to times
// what is to be read ahead.
func (r *receiver) room(n, times int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := times*r.cfg.Prefetch - len(r.queue)
	freeBytes := times*r.cfg.PrefetchBytes - r.queueBytes
	if free <= 0 || freeBytes <= 0 {
		return 0
	}
	// As many as their size allows, as far as it is known: a page is one reply, and
	// one of unknown bodies could be too large for memory, or for the client's patience.
	free = min(free, min(freeBytes, pageBytes)/max(r.entryBytes, 1)+1)
	if free < n && len(r.queue) > 0 {
		return 0 // One of each topic would be too many.
	}
	return max(free/n, 1)
}

// pageBytes is how much payload one page should have.
const pageBytes = 4 << 20

// weigh learns from a page how large entries are: at once when they are larger
// than thought, little by little when they are smaller.
func (r *receiver) weigh(entries []rawEntry) {
	if len(entries) == 0 {
		return
	}
	bytes := 0
	for i := range entries {
		bytes += len(entries[i].all.text)
	}
	average := bytes/len(entries) + 1
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entryBytes = max(average, r.entryBytes/4)
}

// fetch reads one page.
func (r *receiver) fetch(streams []*stream, count int) error {
	args := make([]any, 0, 9+2*len(streams))
	args = append(args, "xreadgroup", "group", r.cfg.Group, r.consumer, "count", count, "block", r.cfg.Block.Milliseconds(), "streams")
	for _, s := range streams {
		args = append(args, s.key)
	}
	for range streams {
		args = append(args, ">")
	}
	now := time.Now()
	cmd := goredis.NewRawCmd(r.ctx, args...)
	cmd.SetFirstKeyPos(9)
	if err := r.client.Process(r.ctx, cmd); err != nil {
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	}
	return readReply(cmd.Val()).streams(func(key string, entries []rawEntry) {
		r.weigh(entries)
		for _, s := range streams {
			if s.key == key {
				r.accept(s, entries, nil, now)
			}
		}
	})
}

// readReply makes a reply of bytes that nobody else has.
func readReply(raw []byte) reply { return reply{unsafe.String(unsafe.SliceData(raw), len(raw))} }

var errNoStream = errors.New("none of the topics can be read")

// markGone records that groups were found gone, whoever creates them again.
func (r *receiver) markGone(streams []*stream) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range streams {
		s.gone = now
	}
}

// look finds out which streams can be read, so that one whose key holds something
// else does not keep the others from it.
func (r *reader) look() {
	r.looked = time.Now()
	r.healthy = r.healthy[:0:0]
	bad := map[*stream]string{}
	for _, s := range r.streams {
		kind, err := r.cfg.Client.Type(r.ctx, s.key).Result()
		if err != nil || kind == "stream" || kind == "none" {
			r.healthy = append(r.healthy, s)
			continue
		}
		if bad[s] = kind; r.bad[s] != kind {
			r.cfg.Logger.Error("redis: a topic cannot be read", "topic", s.topic, "key", s.key, "error", wrongType(s.key, kind))
		}
	}
	r.bad = bad
}

// recover waits after a failed read, longer each time, and puts right what it can.
func (r *reader) recover(err error) {
	first := r.outage == 0
	r.outage++
	switch {
	case r.ctx.Err() != nil:
		return
	case errors.Is(err, goredis.ErrClosed):
		r.fail(explain(err))
		return
	case first:
		r.incidents.outages.Add(1)
		r.cfg.Logger.Warn("redis: reading failed, trying again until it works", "group", r.cfg.Group, "error", explain(err, "of one of the topics"))
	}
	if hasCode(err, "MOVED") || hasCode(err, "ASK") {
		// The client does not look into raw replies; with this command it follows.
		err = cmp.Or(r.cfg.Client.XLen(r.ctx, r.streams[0].key).Err(), err)
	}
	if !errors.Is(err, errNoStream) {
		r.look()
	}
	if hasCode(err, "NOGROUP") || hasCode(err, "UNBLOCKED") {
		// Flushed, deleted or failed over: begin where the configuration says.
		r.markGone(r.healthy)
		created, err := r.createGroups(r.ctx, r.healthy)
		if created > 0 {
			r.incidents.groups.Add(created)
			r.cfg.Logger.Warn("redis: group was gone and is created again", "group", r.cfg.Group, "start", r.cfg.Start)
		}
		if err == nil && first {
			return
		}
	}
	wait := min(50*time.Millisecond<<min(r.outage-1, 6), recheck)
	r.sleep(wait/2 + rand.N(wait))
}

func (r *receiver) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// accept decodes entries and makes them ready. deliveries counts how often each
// was delivered; nil means once. The entries are ours since a moment after at.
func (r *receiver) accept(s *stream, raw []rawEntry, deliveries map[string]int64, at time.Time) {
	page := make([]entry, len(raw)) // one allocation for all
	good := page[:0]
	bytes := 0
	for i := range raw {
		e := &page[len(good)]
		*e = entry{receiver: r, stream: s, id: raw[i].id, fields: raw[i].known, state: ready, confirmed: at}
		e.Delivery = transport.Delivery{Topic: s.topic, ID: e.id, Attempt: 1, Stored: storedAt(e.id), Receipt: e}
		if s.retry {
			e.restore()
		}
		e.reads = max(deliveries[e.id], 1)
		e.Attempt += int(e.reads - 1)
		msg, err := decode(e.fields, []byte(e.fields.payload))
		if err != nil {
			r.bury(e, &raw[i], err)
			continue
		}
		// Not a child of the receiver's: Close ends those that are left.
		ctx, cancel := context.WithCancelCause(context.Background())
		msg.SetContext(ctx)
		e.Message, e.cancel = msg, cancel
		bytes += len(msg.Payload)
		good = page[:len(good)+1]
	}
	if len(good) == 0 {
		return
	}
	r.mu.Lock()
	for i := range good {
		r.held.push(&good[i])
		r.queue = append(r.queue, &good[i])
	}
	r.queueBytes += bytes
	r.mu.Unlock()
	signal(r.arrived)
}

// restore sets what a delivery brought along through the delay store.
func (e *entry) restore() {
	if n, err := strconv.ParseUint(e.fields.attempt, 10, 31); err == nil && n > 0 {
		e.Attempt = int(n)
	}
	if e.fields.origin != "" {
		e.ID = e.fields.origin
	}
	if ms, err := strconv.ParseInt(e.fields.stored, 10, 64); err == nil {
		e.Stored = time.UnixMilli(ms)
	}
}

// splitID reads the two numbers of an entry id; what is none reads as 0.
func splitID(id string) (ms, seq uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	seq, _ = strconv.ParseUint(right, 10, 64)
	return ms, seq
}

func compareIDs(a, b string) int {
	aMS, aSeq := splitID(a)
	bMS, bSeq := splitID(b)
	switch {
	case aMS < bMS, aMS == bMS && aSeq < bSeq:
		return -1
	case aMS == bMS && aSeq == bSeq:
		return 0
	}
	return 1
}

// storedAt reads the time that the server puts into an entry's id.
func storedAt(id string) time.Time {
	if ms, _ := splitID(id); ms > 0 {
		return time.UnixMilli(int64(ms))
	}
	return time.Time{}
}

package redis

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	goredis "github.com/redis/go-redis/v9"
)

// reader reads the streams that one command may name. Two goroutines take turns:
// while one makes deliveries of what it has read, the other one reads on.
type reader struct {
	*receiver
	streams []*stream

	reading   sync.Mutex                  // held while a page is read; guards what follows
	outage    int                         // failed reads since the last one of all streams
	waits     *backoff.ExponentialBackOff // between them
	healthy   []*stream                   // during an outage: those that can be read
	looked    time.Time                   // when that was found out
	bad       map[*stream]string          // what the keys of the others hold
	woken     bool                        // there was no room, and then something was taken
	buffer    replyBuffer
	accepting sync.Mutex // taken before reading is given up, so that pages stay in order
}

// recheck is how often a stream that cannot be read is looked at again.
const recheck = 2 * time.Second

// run fetches new entries as long as there is room for them (XREADGROUP).
func (r *reader) run() {
	var p pageOfEntries
	for r.ctx.Err() == nil {
		r.turn(&p)
	}
}

// turn reads a page and makes deliveries of it.
func (r *reader) turn(p *pageOfEntries) {
	r.reading.Lock()
	err := r.read(p)
	r.accepting.Lock()
	if err == nil {
		r.reading.Unlock()
	}
	for _, part := range p.parts {
		r.accept(part.stream, part.entries, part.deliveries, p.read, p.tenureOf(part.stream))
	}
	r.endRead(p)
	r.accepting.Unlock()
	if len(p.parts) > 0 {
		r.arriving(-p.count, -p.bytes)
		signal(r.taken) // in case there is more room now than was thought
		p.clear()
	}
	if err != nil {
		r.recover(err)
		r.reading.Unlock()
	}
}

// read reads a page, which stays empty if there is nothing, or no room. Even if it
// fails there may be something in it.
func (r *reader) read(p *pageOfEntries) error {
	if r.ctx.Err() != nil {
		return nil
	}
	streams := r.streams
	if r.outage > 0 {
		if time.Since(r.looked) > recheck {
			r.look()
		}
		streams = r.healthy
	}
	if len(streams) == 0 {
		return errNoStream
	}
	all := len(streams) == len(r.streams)
	streams, behind, changed := r.readable(p, streams)
	if len(streams) == 0 && behind == nil {
		select {
		case <-changed:
		case <-r.ctx.Done():
		}
		return nil
	}
	count := r.room(max(len(streams)/2, 1), 1)
	if count == 0 {
		r.endRead(p)
		select {
		case <-r.taken:
		case <-r.ctx.Done():
		}
		r.woken = true
		return nil
	}
	if r.woken {
		r.woken = false
		signal(r.taken) // for other readers, which wait for the same
	}
	if err := r.bring(p, streams, behind, count); err != nil {
		if r.ctx.Err() == nil { // or else what there is is given back
			r.doubt(p)
		}
		return err
	}
	if r.outage > 0 && all {
		r.cfg.Logger.Info("redis: reading again", "group", r.cfg.Group)
		r.outage = 0
	}
	return nil
}

// bring reads a page of what is new, or of what is pending of others.
func (r *reader) bring(p *pageOfEntries, streams []*stream, behind *stream, count int) (err error) {
	switch {
	case !r.cfg.Exclusive:
		return r.fetch(p, streams, count)
	case behind != nil:
		err = r.inherit(p, behind, count)
		r.weigh(p)
		r.arriving(p.count, p.bytes)
		return err
	}
	if err = r.fetch(p, streams, count); err != nil {
		return err
	}
	count, bytes := p.count, p.bytes
	err = r.intruded(p)
	r.arriving(p.count-count, p.bytes-bytes)
	return err
}

// fetch reads one page.
func (r *reader) fetch(p *pageOfEntries, streams []*stream, count int) error {
	args := make([]any, 0, 9+2*len(streams))
	args = append(args, "xreadgroup", "group", r.cfg.Group, r.consumer, "count", count, "block", r.cfg.Block.Milliseconds(), "streams")
	for _, s := range streams {
		args = append(args, s.key)
	}
	for range streams {
		args = append(args, ">")
	}
	p.read = time.Now()
	cmd := goredis.NewRawWriteToCmd(r.ctx, &r.buffer, args...)
	cmd.SetFirstKeyPos(9)
	r.buffer.reset()
	if err := r.client.Process(r.ctx, cmd); err != nil {
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	}
	err := r.buffer.reply().streams(&p.entries, func(key string, entries []rawEntry) {
		for _, s := range streams {
			if s.key == key {
				p.add(s, entries)
			}
		}
	})
	r.weigh(p)
	r.arriving(p.count, p.bytes)
	return err
}

// room is how many entries of each of n topics there is room for, up to times
// what is to be read ahead. Where much is waiting already it is none or many.
func (r *receiver) room(n, times int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := len(r.queue) + r.bundled + r.coming
	free := times*r.cfg.Prefetch - waiting
	freeBytes := times*r.cfg.PrefetchBytes - r.queueBytes - r.comingBytes
	ahead := pagesAhead
	if r.entryCount > 1 {
		// The server and the connection have little work with each message then, so that
		// what a page costs is most of it; and what has been read is small.
		ahead /= 2
	}
	most := max(r.cfg.Prefetch/ahead, 1)
	if free <= 0 || freeBytes <= 0 {
		return 0
	}
	if waiting > 0 && free < max(most, n) {
		return 0 // A page would be short, or one of each topic too many.
	}
	// As many as their size allows, as far as it is known: a page is one reply, and
	// one of unknown bodies could be too large for memory, or for the client's patience.
	free = max(min(free, most)/max(r.entryCount, 1), 1)
	free = min(free, min(freeBytes, pageBytes)/max(r.entryBytes, 1)+1)
	return max(free/n, 1)
}

const (
	// pagesAhead is how many pages are read ahead: while one is made deliveries of,
	// the next one is read, and others wait.
	pagesAhead = 4
	// pageBytes is how much payload one page should have.
	pageBytes = 4 << 20
)

// weigh learns from a page how large entries are: at once when they are larger
// than thought, little by little when they are smaller.
func (r *receiver) weigh(p *pageOfEntries) {
	if p.count == 0 {
		return
	}
	average := max(p.size, p.bytes)/p.stored + 1
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entryBytes = max(average, r.entryBytes/4)
	r.entryCount = max(p.count/p.stored, r.entryCount/4)
}

// arriving counts entries that are read and not yet in the queue.
func (r *receiver) arriving(count, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coming += count
	r.comingBytes += bytes
}

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
	if first {
		r.waits = newBackOff(50*time.Millisecond, recheck)
	}
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
	r.sleep(r.waits.NextBackOff())
}

func (r *receiver) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

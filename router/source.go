package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/logistically/events/transport"
)

// source receives from the topics of one weight, and settles what came from them.
type source struct {
	*session
	topics   []string
	weight   int
	class    int // its index among the sources, and so its class in each lane
	receiver transport.Receiver
	can      transport.Capabilities
	roomy    chan struct{} // tells the receiving loop to look for room again
	sorted   []bunch       // by lane; of the receiving loop
	lots     lots          // of the receiving loop
	backlog  int           // how many outcomes may be unsettled while it receives more

	mu       sync.Mutex
	outcomes []transport.Outcome
	settling int           // how many outcomes a call of Settle is at
	shut     bool          // nobody settles any more
	some     chan struct{} // outcomes is not empty
}

// bunch is what a page has for one lane.
type bunch struct {
	jobs []*job
	keys []string // nil where the lane has no order
}

// receive hands pages to the lanes until ctx ends or the receiver fails.
func (s *source) receive(ctx context.Context) error {
	for {
		free := s.free()
		for free == 0 {
			select {
			case <-s.roomy:
			case <-ctx.Done():
				return nil
			}
			free = s.free()
		}
		var page []*transport.Delivery
		err := protect(func() (err error) {
			page, err = s.receiver.Receive(ctx, free)
			return err
		})
		s.accept(page)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("router: receive from %s: %w", strings.Join(s.topics, ", "), err)
		}
	}
}

// accept finds the handler of each delivery and hands it to its lane.
func (s *source) accept(ds []*transport.Delivery) {
	if len(ds) == 0 {
		return
	}
	s.counts.received.Add(int64(len(ds)))
	number := s.numbers.Add(int64(len(ds))) - int64(len(ds))
	now, bytes := time.Since(s.opened), int64(0)
	var same string // the type of the message before,
	var its *handler
	var some []job
	for i, d := range ds {
		if len(some) == 0 { // Few at a time: one that waits keeps the memory of all.
			some = make([]job, min(len(ds)-i, 10)) // of 1520 bytes, next to a size that memory comes in
		}
		j := &some[0]
		some = some[1:]
		j.delivery, j.from, j.base, j.arrived, j.number = d, s, d.Message.Context(), now, number+int64(i)
		if t := typeOf(d.Message, d.Topic); i == 0 || t != same {
			same, its = t, s.handlers.find(t)
		}
		j.handler = its
		bytes += j.bytes()
		l := s.lanes[0]
		if j.handler != nil {
			l = s.lanes[j.handler.group.lane.index]
		}
		s.sort(l, j)
	}
	s.lots.make(s.sorted)
	s.held.Add(int64(len(ds)))
	s.heldBytes.Add(bytes)
	select {
	case s.arrived <- struct{}{}:
	default: // It will see this with what it was told of.
	}
	for i := range s.sorted {
		if b := &s.sorted[i]; len(b.jobs) > 0 {
			s.lanes[i].add(b.jobs, b.keys)
			clear(b.jobs)
			clear(b.keys)
			b.jobs, b.keys = b.jobs[:0], b.keys[:0]
		}
	}
}

// sort puts a job into the bunch of its lane.
func (s *source) sort(l *lane, j *job) {
	b := &s.sorted[l.cfg.index]
	if l.cfg.OrderBy != nil {
		key := ""
		if err := protect(func() error { key = l.cfg.OrderBy(j.delivery.Message); return nil }); err != nil {
			j.keyless = fmt.Errorf("router: OrderBy of lane %q: %w", l.cfg.Name, err)
		}
		b.keys = append(b.keys, key)
	}
	b.jobs = append(b.jobs, j)
}

// send passes an outcome on to be settled. It does not wait.
func (s *source) send(o transport.Outcome) {
	s.mu.Lock()
	shut := s.shut
	if !shut {
		s.outcomes = append(s.outcomes, o)
	}
	s.mu.Unlock()
	if shut { // Closing the receiver releases it.
		s.counts.unsettled.Add(1)
		return
	}
	signal(s.some)
}

// settle applies outcomes until stop is closed and nothing is left. What is
// decided while one Settle call is under way goes out with the next.
func (s *source) settle(ctx context.Context, stop <-chan struct{}) {
	var batch []transport.Outcome
	for {
		batch = s.take(batch)
		if len(batch) > 0 {
			s.apply(ctx, batch)
			continue
		}
		select {
		case <-s.some:
			continue
		default:
		}
		select {
		case <-s.some:
		case <-stop:
			if s.shutIfEmpty() {
				return
			}
		}
	}
}

// take returns what is to be settled next; the batch before it is done with.
func (s *source) take(settled []transport.Outcome) []transport.Outcome {
	clear(settled)
	s.mu.Lock()
	lagged := s.settling > 0
	batch := s.outcomes
	s.outcomes, s.settling = settled[:0], len(batch)
	s.mu.Unlock()
	if lagged {
		signal(s.roomy)
	}
	return batch
}

// shutIfEmpty ends settling, unless there is something to settle.
func (s *source) shutIfEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = len(s.outcomes) == 0
	return s.shut
}

func (s *source) apply(ctx context.Context, batch []transport.Outcome) {
	err := protect(func() error { return s.receiver.Settle(ctx, batch...) })
	if err == nil {
		var n [len(s.counts.settled)]int64
		for i := range batch {
			n[batch[i].Settlement]++
		}
		for settlement, n := range n {
			if n > 0 {
				s.counts.settled[settlement].Add(n)
			}
		}
		return
	}
	s.log.Error("deliveries are not settled and will be delivered again", "error", err)
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok { // Against the contract: nothing is known, so nothing is claimed.
		s.counts.unsettled.Add(int64(len(batch)))
		return
	}
	unsettled := make(map[*transport.Delivery]bool, len(failed.Unsettled))
	for _, u := range failed.Unsettled {
		unsettled[u.Outcome.Delivery] = true
	}
	for _, o := range batch {
		if unsettled[o.Delivery] {
			s.counts.unsettled.Add(1)
		} else {
			s.counts.settled[o.Settlement].Add(1)
		}
	}
}

// open opens a receiver for each weight, the heaviest first.
func (r *Router) open() (sources []*source, err error) {
	for _, weight := range r.cfg.weights() {
		s := &source{weight: weight, class: len(sources), roomy: make(chan struct{}, 1), some: make(chan struct{}, 1)}
		for _, topic := range r.cfg.Topics {
			if max(r.cfg.Weights[topic], 1) == weight {
				s.topics = append(s.topics, topic)
			}
		}
		err := protect(func() (err error) {
			if from, ok := r.cfg.Subscriber.(transport.Source); ok {
				s.receiver, err = from.Receiver(s.topics...)
			} else {
				s.receiver, err = transport.FromSubscriber(r.cfg.Subscriber, s.topics...)
			}
			return err
		})
		if err != nil {
			err = fmt.Errorf("router: open a receiver on %s: %w", strings.Join(s.topics, ", "), err)
			return nil, errors.Join(err, closeAll(sources))
		}
		s.can = s.receiver.Capabilities()
		sources = append(sources, s)
	}
	return sources, nil
}

func closeAll(sources []*source) (err error) {
	for _, s := range sources {
		if cerr := s.receiver.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("router: close the receiver on %s: %w", strings.Join(s.topics, ", "), cerr))
		}
	}
	return err
}

package transport

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// FromSubscriber returns a [Receiver] over any Watermill subscriber, so that
// our router runs on transports that know only ack and nack. It subscribes to
// the topics at once; a nil subscriber, no topic, or an empty or repeated one is
// a *events.ConfigError.
//
// Such a receiver has no [Capabilities]. It settles in Watermill's way: Ack
// acks. Retry nacks once its time has passed. DeadLetter and Release nack at
// once, so a message that should be a dead letter comes back: use a poison
// queue middleware, which publishes it elsewhere and lets it be acked. Attempt
// is always 1, Stored is zero, and ID is the message's UUID.
//
// How many messages are in flight is up to the subscriber. Many hand over one
// message of a topic and wait until it is acked; there, a message that waits for
// its retry holds up its topic. When a nacked message comes back is up to the
// subscriber too.
//
// Close nacks what is not settled, ends the subscriptions by their context and
// leaves the subscriber open, which is its owner's to close. When the
// subscriber itself ends all subscriptions, Receive returns an error that wraps
// events.ErrClosed. It returns an error, too, once the subscriber has handed over
// a nil message, which nobody can settle.
func FromSubscriber(sub message.Subscriber, topics ...string) (Receiver, error) {
	const field = "transport.FromSubscriber "
	if nilcheck.IsNil(sub) {
		return nil, &events.ConfigError{Field: field + "sub", Value: sub, Problem: "is nil", Remedy: "pass a message.Subscriber"}
	}
	if len(topics) == 0 {
		return nil, &events.ConfigError{Field: field + "topics", Value: topics, Problem: "are none", Remedy: "name at least one topic"}
	}
	for i, t := range topics {
		if t == "" || slices.Contains(topics[:i], t) {
			return nil, &events.ConfigError{Field: field + "topics", Value: topics, Problem: "hold an empty or a repeated topic", Remedy: "name each topic once"}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &plainReceiver{
		topics:  slices.Clone(topics),
		inputs:  make([]<-chan *message.Message, len(topics)),
		cancel:  cancel,
		closed:  make(chan struct{}),
		open:    make(map[*Delivery]struct{}),
		waiting: make(map[*Delivery]*time.Timer),
	}
	for i, topic := range topics {
		in, err := sub.Subscribe(ctx, topic)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("transport: subscribe to %q: %w", topic, err)
		}
		r.inputs[i] = in
	}
	return r, nil
}

// plainReceiver reads the subscriptions' channels itself, without goroutines
// in between: a message is taken only when somebody asks for it.
type plainReceiver struct {
	topics []string
	cancel context.CancelFunc
	closed chan struct{}
	timers sync.WaitGroup // one for each timer that has not fired or been stopped

	mu      sync.Mutex
	inputs  []<-chan *message.Message // by topic; nil when the subscriber has ended it
	first   int                       // the topic to ask first, so that none starves
	broken  error                     // what the subscriber has done against its contract
	shut    bool
	open    map[*Delivery]struct{}    // handed over, not settled
	waiting map[*Delivery]*time.Timer // to be nacked later
}

func (r *plainReceiver) Capabilities() Capabilities { return Capabilities{} }

func (r *plainReceiver) Receive(ctx context.Context, limit int) ([]*Delivery, error) {
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("transport: receive: %w", context.Cause(ctx))
		}
		page, err := r.collect(nil, limit)
		if len(page) > 0 || err != nil {
			return page, err
		}
		d, err := r.wait(ctx)
		if err != nil {
			return nil, err
		}
		if d != nil {
			// What fails now will fail again at the next call.
			page, _ := r.collect([]*Delivery{d}, limit)
			return page, nil
		}
	}
}

// collect takes what is waiting, without blocking.
func (r *plainReceiver) collect(page []*Delivery, limit int) ([]*Delivery, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return page, fmt.Errorf("transport: receive: %w", events.ErrClosed)
	}
	if r.broken != nil {
		return page, r.broken
	}
	live := 0
	for n := range r.inputs {
		i := (r.first + n) % len(r.inputs)
		for more := true; more && len(page) < limit; {
			select {
			case msg, ok := <-r.inputs[i]:
				d := r.take(i, msg, ok)
				if more = d != nil; more {
					page = append(page, d)
				}
			default:
				more = false
			}
		}
		if r.inputs[i] != nil {
			live++
		}
	}
	r.first = (r.first + 1) % len(r.inputs)
	switch {
	case len(page) > 0:
		return page, nil
	case r.broken != nil:
		return nil, r.broken
	case live == 0:
		return nil, fmt.Errorf("transport: receive: the subscriber has ended its subscriptions: %w", events.ErrClosed)
	}
	return nil, nil
}

// wait blocks until one message is there. It returns neither a delivery nor an
// error when Receive has to look what happened: a subscription has ended, say.
func (r *plainReceiver) wait(ctx context.Context) (*Delivery, error) {
	r.mu.Lock()
	inputs := slices.Clone(r.inputs)
	r.mu.Unlock()
	cases := make([]reflect.SelectCase, 0, len(inputs)+2)
	for _, in := range inputs {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(in)})
	}
	cases = append(cases,
		reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(r.closed)})
	i, value, ok := reflect.Select(cases)
	if i >= len(inputs) {
		return nil, nil // Receive finds out which of them it was.
	}
	msg := value.Interface().(*message.Message) // The channel's type says so.
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut && msg != nil {
		msg.Nack()
		return nil, fmt.Errorf("transport: receive: %w", events.ErrClosed)
	}
	return r.take(i, msg, ok), nil
}

// take makes a delivery of what came from a subscription, or notes that there
// is none. It needs r.mu.
func (r *plainReceiver) take(topic int, msg *message.Message, ok bool) *Delivery {
	switch {
	case !ok:
		r.inputs[topic] = nil
		return nil
	case msg == nil:
		// An error, and not passed over: a subscriber that reads from a closed
		// channel hands over nothing else, as fast as it can.
		r.broken = fmt.Errorf("transport: receive: the subscriber handed over a nil message on %q: mend the subscriber", r.topics[topic])
		return nil
	}
	d := &Delivery{Message: msg, Topic: r.topics[topic], ID: msg.UUID, Attempt: 1}
	r.open[d] = struct{}{}
	return d
}

func (r *plainReceiver) Settle(_ context.Context, outcomes ...Outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range outcomes {
		d := o.Delivery
		if _, ok := r.open[d]; !ok {
			continue // Settled before, or nacked by Close.
		}
		delete(r.open, d)
		switch {
		case o.Settlement == Ack:
			d.Message.Ack()
		case o.Settlement == Retry && o.After > 0:
			r.nackLater(d, o.After)
		default:
			d.Message.Nack()
		}
	}
	return nil
}

// nackLater needs r.mu. The timer's function takes it too, so it cannot look
// for its timer before that is in the map.
func (r *plainReceiver) nackLater(d *Delivery, after time.Duration) {
	r.timers.Add(1)
	r.waiting[d] = time.AfterFunc(after, func() {
		defer r.timers.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, d)
		d.Message.Nack()
	})
}

func (r *plainReceiver) Close() error {
	r.mu.Lock()
	if !r.shut {
		r.shut = true
		close(r.closed)
		// Nack before the subscriptions end: afterwards a subscriber may no
		// longer be able to tell its broker.
		for d := range r.open {
			d.Message.Nack()
		}
		for d, timer := range r.waiting {
			if timer.Stop() {
				r.timers.Done()
			}
			d.Message.Nack()
		}
		clear(r.open)
		clear(r.waiting)
		r.cancel()
	}
	r.mu.Unlock()
	r.timers.Wait()
	return nil
}

package middleware

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/packed"
	"github.com/logistically/events/transport"
)

type idempotency struct {
	IdempotencyConfig
	prefix string
	seeing func(*transport.Lot) // look; a method value would be an allocation at each use
}

func (i *idempotency) handle(msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	key, err := i.key(msg)
	if err != nil {
		return nil, err
	}
	ctx := msg.Context()
	c, result, err := i.begin(ctx, key, msg)
	if err != nil {
		return nil, err
	}
	switch result.State {
	case transport.ClaimStarted:
		return i.run(c, msg, next)
	case transport.ClaimMarked:
		c.forget()
		produced, err := packed.Unpack(result.Produced)
		if err != nil {
			return nil, fmt.Errorf("middleware: idempotency: what was kept with the mark of %q: %w", c.Key, err)
		}
		return produced, nil
	case transport.ClaimMismatch:
		c.forget()
		return nil, events.Permanent(fmt.Errorf("%w: %q", ErrPayloadMismatch, c.Key))
	}
	c.forget()
	return nil, events.RetryAfter(i.busyDelay(ctx), fmt.Errorf("%w: %q", ErrInProgress, c.Key))
}

// begin claims the event, or finds out why not.
func (i *idempotency) begin(ctx context.Context, key string, msg *message.Message) (*claim, transport.ClaimResult, error) {
	d, _ := transport.DeliveryFromContext(ctx)
	if d != nil {
		if c, result, err := i.madeAhead(ctx, d, key, msg); c != nil || err != nil {
			return c, result, err
		}
	}
	key = i.prefix + key
	c := &claim{store: i.Store, ctx: ctx}
	if d != nil && d.Concludes(i.Store, key) {
		c.holds = d
		if h := d.HeldClaim(); h != nil && h.Claim.Key == key { // of an attempt before this one
			c.Claim = h.Claim
		}
	}
	if c.Claim == nil {
		own := i.claim(key, rand.Text(), msg, d)
		c.Claim = &own
	}
	c.since = time.Now()
	results, err := beginAll(ctx, i.Store, *c.Claim)
	if err != nil {
		// It may be held all the same; then the next attempt would wait for it.
		return nil, transport.ClaimResult{}, c.abort(fmt.Errorf("middleware: idempotency: claim %q: %w", key, opaque(err)))
	}
	return c, results[0], nil
}

func (i *idempotency) claim(key, token string, msg *message.Message, d *transport.Delivery) transport.Claim {
	c := transport.Claim{Key: key, Fingerprint: fingerprint(msg), Token: token, Lease: i.Lease, Keep: i.Keep}
	if d != nil {
		c.Holder, c.Attempt = d.Holder(), d.Attempt
	}
	return c
}

// forget lets go of a claim that is somebody else's.
func (c *claim) forget() {
	if c.holds != nil {
		c.holds.HoldClaim(nil)
	}
}

// run runs the handler under a claim, and concludes the claim however it ends.
func (i *idempotency) run(c *claim, msg *message.Message, next message.HandlerFunc) (produced []*message.Message, err error) {
	concluded := false
	defer func() {
		// A panic, or runtime.Goexit, goes on as it is: whoever recovers it
		// wants the stack. The claim expires if it cannot be dropped.
		if !concluded {
			_ = c.abort(nil)
		}
	}()
	produced, err = next(msg)
	if err != nil {
		produced, err = nil, c.abort(err)
	} else {
		produced, err = i.conclude(c, msg, produced)
	}
	concluded = true
	return produced, err
}

// conclude marks an event whose handler has succeeded, or has its ack do so.
func (i *idempotency) conclude(c *claim, msg *message.Message, produced []*message.Message) ([]*message.Message, error) {
	if c.holds != nil && (len(produced) == 0 || c.holds.Publishes()) {
		c.doneBySettling()
		return produced, nil
	}
	kept, err := packed.Pack(produced)
	if err != nil {
		return nil, c.abort(fmt.Errorf("middleware: idempotency: keep what the handler returned: %w", err))
	}
	if len(kept) > i.MaxProduced {
		i.Logger.WarnContext(c.ctx, "a handler returned more than is kept with the mark of an event: they are published, but not again for a duplicate",
			"scope", i.Scope, "type", msg.Metadata[events.MetadataType], "event", msg.UUID, "bytes", len(kept), "MaxProduced", i.MaxProduced)
		if c.holds != nil {
			c.doneBySettling()
			return produced, nil
		}
		return produced, c.abort(nil)
	}
	switch err := c.mark(kept); {
	case err == nil:
		return produced, nil
	case errors.Is(err, transport.ErrClaimDone):
		return nil, nil // The other run's are published.
	default:
		return nil, err
	}
}

// key returns the event's key, without the scope.
func (i *idempotency) key(msg *message.Message) (key string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("middleware: idempotency: Key: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	if key = i.Key(msg); key == "" {
		return "", events.Permanent(ErrNoKey)
	}
	return key, nil
}

// fingerprintSize is how much of a SHA-256 in hex tells two payloads apart that
// nobody has made to be taken for each other.
const fingerprintSize = 16

// fingerprint goes by the header's hash, which stays that of what was published
// when the payload is brought to another version.
func fingerprint(msg *message.Message) string {
	if hash := msg.Metadata[events.MetadataHash]; isHex(hash) {
		return hash[:fingerprintSize]
	}
	sum := sha256.Sum256(msg.Payload)
	return hex.EncodeToString(sum[:fingerprintSize/2])
}

// hasFingerprint reports whether a message's fingerprint is one that was taken before.
func hasFingerprint(msg *message.Message, taken string) bool {
	return strings.HasPrefix(msg.Metadata[events.MetadataHash], taken) || fingerprint(msg) == taken
}

func isHex(hash string) bool {
	if len(hash) < fingerprintSize {
		return false
	}
	for _, c := range []byte(hash[:fingerprintSize]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// busyDelay doubles with the attempt. Lease is then over within few more than
// eight deliveries after the doubling ends.
func (i *idempotency) busyDelay(ctx context.Context) time.Duration {
	delay, most := i.BusyDelay, max(i.BusyDelay, i.Lease/8)
	if d, can := transport.DeliveryFromContext(ctx); d != nil && can.Attempts {
		for n := 1; n < d.Attempt && delay < most; n++ {
			delay *= 2
		}
	}
	return min(delay, most)
}

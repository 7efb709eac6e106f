package redis

import (
	"cmp"
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis/internal/pack"
	goredis "github.com/redis/go-redis/v9"
)

// PackConfig lets a [Publisher] write entries that carry many messages, compressed
// (Zstandard, RFC 8878). Messages that one call of Publish brings are packed, in
// order; a message that comes alone, or that is large, is an entry like any other.
// Put a batching.Publisher in front to pack what many callers publish. Who reads it
// must know packs: a [Subscriber] of this version does, and gets the messages one by
// one; others report an entry without a UUID. See docs/PACKING.md for when it pays.
type PackConfig struct {
	// MaxMessages is how many messages an entry has at most. It is also what one
	// consumer gets at least, and what others cannot share. Zero means 100; the most
	// is 10 000.
	MaxMessages int
	// MaxBytes is how large the messages of an entry may be before they are
	// compressed: with as much, or more, an entry is complete, and a message that is
	// larger is not packed. Zero means 1 MiB; the most is 16 MiB.
	MaxBytes int

	least int // messages of a pack
}

// complete returns the configuration with what was left out, or an *events.ConfigError.
func (cfg *PackConfig) complete() (*PackConfig, error) {
	if cfg == nil {
		return nil, nil
	}
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "redis.PackConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	full := *cfg
	switch {
	case cfg.MaxMessages < 0:
		return nil, bad("MaxMessages", cfg.MaxMessages, "is negative", "set a number of messages, or 0 for 100")
	case cfg.MaxMessages > pack.MostMessages:
		return nil, bad("MaxMessages", cfg.MaxMessages, "is more than an entry can have", "set at most 10 000, or 0 for 100")
	case cfg.MaxMessages == 1:
		return nil, bad("MaxMessages", cfg.MaxMessages, "packs nothing", "set at least 2, or leave Pack out")
	case cfg.MaxBytes < 0:
		return nil, bad("MaxBytes", cfg.MaxBytes, "is negative", "set a number of bytes, or 0 for 1 MiB")
	case cfg.MaxBytes > pack.MostBytes:
		return nil, bad("MaxBytes", cfg.MaxBytes, "is more than a consumer unpacks", "set at most 16 MiB, or 0 for 1 MiB")
	}
	full.MaxMessages = cmp.Or(full.MaxMessages, 100)
	full.MaxBytes = cmp.Or(full.MaxBytes, 1<<20)
	full.least = cmp.Or(full.least, 2)
	return &full, nil
}

var packers = sync.Pool{New: func() any { return new(pack.Packer) }}

// packing makes commands of the messages of one call.
type packing struct {
	*pack.Packer
	cfg    *PackConfig
	topic  string
	ctx    context.Context
	last   *message.Message // that was added
	cmds   []*goredis.StringCmd
	failed []events.FailedMessage
}

// publishPacked is Publish, with as few entries as the configuration allows.
func (p *Publisher) publishPacked(topic string, msgs []*message.Message) error {
	w := &packing{Packer: packers.Get().(*pack.Packer), cfg: p.pack, topic: topic}
	defer packers.Put(w.Packer)
	of := make([]int, len(msgs)) // the number of each message's command; -1 if it has none
	for i, msg := range msgs {
		if err := sendable(msg); err != nil {
			w.failed = append(w.failed, failedMessage(topic, msg, err))
			of[i] = -1
			continue
		}
		of[i] = w.add(msg)
	}
	w.flush()
	err := p.send(w)
	for i, n := range of {
		if n < 0 || w.cmds[n].Val() != "" {
			continue
		}
		err := cmp.Or(w.cmds[n].Err(), err, errNoReply)
		w.failed = append(w.failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: explain(err, topic)})
	}
	if len(w.failed) > 0 {
		return &events.PublishError{Topic: topic, Total: len(msgs), Failed: w.failed}
	}
	return nil
}

// add returns the number of the command that the message will be in.
func (w *packing) add(msg *message.Message) int {
	if w.ctx == nil {
		w.ctx = context.WithoutCancel(msg.Context()) // Its end is not that of the others.
	}
	if w.Len() == w.cfg.MaxMessages || w.Size() >= w.cfg.MaxBytes {
		w.flush()
	}
	if !w.Add(msg, w.cfg.MaxBytes) {
		w.flush() // So that it stays behind those before it.
		w.single(msg)
		return len(w.cmds) - 1
	}
	w.last = msg
	return len(w.cmds)
}

// flush makes a command of what was added since the last one.
func (w *packing) flush() {
	switch {
	case w.Len() == 0:
	case w.Len() < w.cfg.least:
		w.Reset()
		w.single(w.last)
	default:
		w.cmds = append(w.cmds, goredis.NewStringCmd(w.ctx, "xadd", w.topic, "*", fieldPacked, w.Pack()))
	}
}

func (w *packing) single(msg *message.Message) {
	alone := newAdding(w.topic, []*message.Message{msg})
	w.cmds = append(w.cmds, alone.command(msg))
}

// send sends all commands in one round trip, which a lone one shares with those of
// other callers.
func (p *Publisher) send(w *packing) error {
	switch len(w.cmds) {
	case 0:
		return nil
	case 1:
		return p.shared.Process(w.ctx, w.cmds[0])
	}
	pipe := p.client.Pipeline()
	for _, cmd := range w.cmds {
		if err := pipe.Process(w.ctx, cmd); err != nil {
			return err
		}
	}
	_, err := pipe.Exec(w.ctx)
	return err
}

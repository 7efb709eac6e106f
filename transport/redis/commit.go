package redis

import (
	_ "embed"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/commit.lua
	commitSource string
	commitScript = goredis.NewScript(progressSource + commitSource)
)

// Holder implements transport.Committer.
func (e *entry) Holder() string {
	return e.stream.group + "/" + e.stream.topic + "/" + e.ID
}

// Concludes implements transport.Committer: the store must be on the same server,
// as far as one can tell, which is by its client, and its keys, too, in one slot.
func (e *entry) Concludes(store transport.ClaimStore, key string) bool {
	s, ok := store.(*IdempotencyStore)
	return ok && same(s.cfg.Client, e.receiver.cfg.Client) && (!s.sharded || hashTagOf(s.key(key)) == hashTagOf(e.stream.key))
}

// Publishes implements transport.Committer. An envelope may be refused, which must be
// an error of its handler: it is not published with the ack.
func (e *entry) Publishes(pub message.Publisher, topic string) bool {
	p, ok := pub.(*Publisher)
	return ok && p.format == nil && !p.closed.Load() && same(p.client, e.receiver.cfg.Client) && transport.CheckTopic(topic) == nil &&
		(!sharded(p.client) || hashTagOf(topic) == hashTagOf(e.stream.key))
}

// same reports whether two clients are one.
func same(a, b goredis.UniversalClient) bool {
	return reflect.TypeOf(a).Comparable() && a == b
}

// hashTagOf returns what Redis Cluster finds the slot of a key by.
func hashTagOf(key string) string {
	for i := range len(key) {
		if key[i] != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j == i+1 {
					return key
				}
				return key[i+1 : j]
			}
		}
		return key
	}
	return key
}

// mostCommits is how many entries one script commits, while the server does nothing else.
const mostCommits = 100

var errCannotPublish = errors.New("the ack cannot publish this: ask Delivery.Publishes first")

// commits makes tasks of acks that conclude claims and publish.
type commits map[*stream]*task

// add adds the ack of an entry whose handler has succeeded under a claim. It returns
// a task if that is a new one. most is how many outcomes there may be.
func (c commits) add(s *stream, e *entry, o transport.Outcome, h *transport.Held, most int) (*task, error) {
	store, ok := h.Store.(*IdempotencyStore)
	if !ok {
		return nil, errForeignClaim
	}
	var added []any
	topic := 0 // its place among the keys is known below
	if p := o.Produced; p != nil {
		if !e.Publishes(p.Publisher, p.Topic) {
			return nil, errCannotPublish
		}
		for _, msg := range p.Messages {
			if err := check(msg); err != nil {
				return nil, fmt.Errorf("redis: publish to %q with the ack: %w", p.Topic, err)
			}
			values := encode(msg.UUID, msg.Metadata, msg.Payload)
			added = append(added, &topic, len(values))
			added = append(added, values...)
		}
	}
	t, made := c[s], (*task)(nil)
	if t == nil || len(t.outcomes) == mostCommits {
		n := min(most, mostCommits)
		t = &task{script: commitScript, commits: true, keys: make([]string, 0, n+3), args: make([]any, 0, 6*n+1), outcomes: make([]transport.Outcome, 0, n)}
		t.keys, t.args = append(t.keys, s.key, s.progressKey()), append(t.args, s.group)
		c[s], made = t, t
	}
	t.outcomes = append(t.outcomes, o)
	t.keys = append(t.keys, store.key(h.Claim.Key))
	t.args = append(t.args, len(t.keys), &e.id, e.finish(), claimValue(h.Claim), markValue(h.Claim), ms(h.Claim.Keep))
	if o.Produced == nil {
		t.args = append(t.args, 0)
		return made, nil
	}
	if topic = slices.Index(t.keys, o.Produced.Topic) + 1; topic == 0 {
		t.keys = append(t.keys, o.Produced.Topic)
		topic = len(t.keys)
	}
	t.args = append(append(t.args, len(o.Produced.Messages)), added...)
	return made, nil
}

// abort returns the task that drops the claim of an entry that is not acked.
func abort(h *transport.Held) *task {
	store, ok := h.Store.(*IdempotencyStore)
	if !ok {
		return nil
	}
	return &task{script: abortScript.Script, keys: []string{store.key(h.Claim.Key)}, args: []any{claimValue(h.Claim)}}
}

var errForeignClaim = errors.New("the claim is of a store that this receiver cannot conclude: ask Delivery.Concludes first")

// committed ends what a script has committed, and lists what it has not.
func (r *receiver) committed(t *task, reply any, failed *failures) {
	answers, _ := reply.([]any)
	for i, o := range t.outcomes {
		one := &task{outcomes: []transport.Outcome{o}}
		switch answer, _ := row(answers).at(i).(string); answer {
		case "ok":
			r.settled(one)
		case "busy":
			failed.add(one, transport.ErrClaimLost)
		default:
			failed.add(one, fmt.Errorf("redis: publish with the ack: %w", explain(refusal(answer), t.keys...)))
		}
	}
}

// refusal is what the server has said within a script.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {} // goredis.Error

package redis

import (
	"unsafe"

	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"
)

// adding makes XADD commands of messages, in the format of [Encode]. What the
// commands consist of is allocated for all of them at once, because for small
// messages that costs more than sending them.
type adding struct {
	topic  any
	args   []any    // of all commands
	texts  []string // what args point to
	packed []byte   // metadata
}

const argsOfXAdd, textsOfXAdd = 9, 3

func newAdding(topic string, msgs []*message.Message) adding {
	size := 0
	if len(msgs) > 0 && msgs[0] != nil {
		size = metadataSize(msgs[0].Metadata) // The others will be much the same.
	}
	a := adding{topic: topic, packed: make([]byte, 0, size*len(msgs))}
	if len(msgs) == 1 {
		var one struct {
			args  [argsOfXAdd]any
			texts [textsOfXAdd]string
		}
		a.args, a.texts = one.args[:0], one.texts[:0]
		return a
	}
	a.args = make([]any, 0, argsOfXAdd*len(msgs))
	a.texts = make([]string, 0, textsOfXAdd*len(msgs))
	return a
}

// command returns the XADD of a message, which must not change until it is sent.
func (a *adding) command(msg *message.Message) *goredis.StringCmd {
	start := len(a.packed)
	if len(msg.Metadata) > 0 {
		a.packed = appendMetadata(a.packed, msg.Metadata)
	}
	t := len(a.texts)
	a.texts = append(a.texts, msg.UUID, textOf(a.packed[start:]), textOf(msg.Payload))
	n := len(a.args)
	// Pointers, because a string in an interface is an allocation of its own.
	a.args = append(a.args, "xadd", a.topic, "*",
		fieldUUID, &a.texts[t], fieldMetadata, &a.texts[t+1], fieldPayload, &a.texts[t+2])
	return goredis.NewStringCmd(msg.Context(), a.args[n:len(a.args):len(a.args)]...)
}

// textOf returns bytes that do not change as a string.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// texts are texts and arguments of several commands, allocated for all of them at once.
type texts struct {
	room []byte // to append to; no more than there is room for
	from int    // where in room the next text begins
	all  []string
	args []any
}

func newTexts(commands, args, size int) texts {
	return texts{room: make([]byte, 0, size), all: make([]string, 0, 2*commands), args: make([]any, 0, args*commands)}
}

// cut returns what was appended to room since the last call. It is a pointer, because
// a string in an interface is an allocation of its own.
func (t *texts) cut() *string {
	t.all = append(t.all, textOf(t.room[t.from:]))
	t.from = len(t.room)
	return &t.all[len(t.all)-1]
}

// command returns the arguments of a command.
func (t *texts) command(args ...any) []any {
	n := len(t.args)
	t.args = append(t.args, args...)
	return t.args[n:len(t.args):len(t.args)]
}

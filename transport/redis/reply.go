package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Replies with entries are sliced here as they come, because a map for every
// entry costs more than reading it. https://redis.io/docs/latest/develop/reference/protocol-spec/

// errReply says that a reply is not what the command should return.
var errReply = errors.New("redis: a reply is not understood")

// serverError is an error that came as a reply. It is a goredis.Error.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError implements goredis.Error.
func (serverError) RedisError() {}

// rawEntry is one entry of a reply. All strings are parts of the reply.
type rawEntry struct {
	id    string
	known fields // those that mean something to us
	all   reply  // all names and values in turn
	count int    // of names and values together; -1 if the entry is deleted
	// progress is what was settled of an entry of many messages; see bundle.
	progress string
}

// reply is what is left of a reply, in RESP2 or RESP3.
type reply struct{ text string }

// next reads the head of the next value: its kind and its length, -1 for a null.
func (r *reply) next() (kind byte, n int, err error) {
	text := r.text
	if len(text) < 3 {
		return 0, 0, fmt.Errorf("%w: it ends too early", errReply)
	}
	switch kind = text[0]; kind {
	case '$', '*', '%', '~', '=':
	case '_':
		r.text = text[min(len("_\r\n"), len(text)):]
		return kind, -1, nil
	case '-':
		line, _, _ := strings.Cut(text[1:], "\r\n")
		return 0, 0, serverError(line)
	default:
		return 0, 0, fmt.Errorf("%w: unexpected %.20q", errReply, text)
	}
	i := 1
	if text[i] == '-' { // Only a null has a length below zero.
		n, i = -1, len("$-1")
		if !strings.HasPrefix(text[1:], "-1") {
			i = len(text)
		}
	}
	for ; n >= 0 && i < len(text) && '0' <= text[i] && text[i] <= '9' && n < 1<<40; i++ {
		n = n*10 + int(text[i]-'0')
	}
	if i == 1 || !strings.HasPrefix(text[min(i, len(text)):], "\r\n") {
		return 0, 0, fmt.Errorf("%w: the length %.20q", errReply, text)
	}
	r.text = text[i+2:]
	return kind, n, nil
}

// array reads the head of an array and returns how many values follow, -1 for
// a null. A map counts names and values.
func (r *reply) array() (n int, err error) {
	kind, n, err := r.next()
	switch {
	case err != nil:
		return 0, err
	case kind == '$' && n >= 0, kind == '=':
		return 0, fmt.Errorf("%w: a string where a list should be", errReply)
	case n > len(r.text): // Each value has a byte at least.
		return 0, fmt.Errorf("%w: a list of %d in %d bytes", errReply, n, len(r.text))
	case kind == '%' && n > 0:
		n *= 2
	}
	return n, nil
}

// string reads a bulk string.
func (r *reply) string() (string, error) {
	kind, n, err := r.next()
	if err != nil {
		return "", err
	}
	if kind != '$' || n < 0 || n > len(r.text)-2 || r.text[n:n+2] != "\r\n" {
		return "", fmt.Errorf("%w: no string where one should be", errReply)
	}
	s := r.text[:n]
	r.text = r.text[n+2:]
	return s, nil
}

// streams calls each with the key and the entries of every stream in a reply
// of XREADGROUP. They are appended to room.
func (r reply) streams(room *[]rawEntry, each func(key string, entries []rawEntry)) error {
	isMap := strings.HasPrefix(r.text, "%")
	n, err := r.array()
	if err != nil {
		return err
	}
	if isMap {
		n /= 2
	}
	for range n {
		if !isMap { // RESP2 has a list of pairs.
			if pair, err := r.array(); err != nil || pair != 2 {
				return cmpError(err, "a stream is no pair")
			}
		}
		key, err := r.string()
		if err != nil {
			return err
		}
		all, err := r.entries(*room)
		if err != nil {
			return err
		}
		each(key, all[len(*room):])
		*room = all
	}
	return nil
}

// entries reads a list of entries, as XCLAIM returns one, and appends them to room.
func (r *reply) entries(room []rawEntry) (entries []rawEntry, err error) {
	n, err := r.array()
	if err != nil {
		return nil, err
	}
	entries = slices.Grow(room, max(n, 0))
	for range n {
		pair, err := r.array()
		if err != nil {
			return nil, err
		}
		if pair == -1 {
			continue // Redis 6.2 returns null for an entry that is claimed and was deleted.
		}
		if pair != 2 {
			return nil, cmpError(nil, "an entry is no pair")
		}
		var e rawEntry
		if e.id, err = r.string(); err != nil {
			return nil, err
		}
		if e.count, err = r.array(); err != nil {
			return nil, err
		}
		e.all = *r
		for i := 0; i < e.count; i += 2 {
			name, err := r.string()
			if err != nil {
				return nil, err
			}
			if i+1 == e.count {
				return nil, fmt.Errorf("%w: a field without a value", errReply)
			}
			value, err := r.string()
			if err != nil {
				return nil, err
			}
			e.known.set(name, value)
		}
		e.all.text = e.all.text[:len(e.all.text)-len(r.text)]
		entries = append(entries, e)
	}
	return entries, nil
}

func cmpError(err error, problem string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", errReply, problem)
}

// values returns all names and values in turn.
func (e *rawEntry) values() []any {
	r := e.all
	out := make([]any, 0, max(e.count, 0))
	for range e.count {
		s, err := r.string()
		if err != nil {
			return out
		}
		out = append(out, s)
	}
	return out
}

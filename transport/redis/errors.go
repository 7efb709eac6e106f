package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// errNoReply stands for the answer that a command never got.
var errNoReply = errors.New("no reply")

// explain adds to a server's or connection's error what to do about it. keys
// are those that the command was about.
func explain(err error, keys ...string) error {
	if err == nil {
		return nil
	}
	remedy := ""
	switch {
	case hasCode(err, "WRONGTYPE"):
		return wrongType(strings.Join(keys, " or "), "another")
	case hasCode(err, "CROSSSLOT"):
		remedy = fmt.Sprintf("the keys %s must share a hash tag, such as {%s}", strings.Join(keys, ", "), strings.Trim(first(keys), "{}"))
	case hasCode(err, "WRONGPASS"), hasCode(err, "NOAUTH"), hasCode(err, "ERR AUTH"), hasCode(err, "ERR invalid password"):
		remedy = "check user and password of the client"
	case hasCode(err, "NOPERM"):
		remedy = fmt.Sprintf("allow the user this command on %s", strings.Join(keys, ", "))
	case hasCode(err, "OOM"):
		remedy = "the server is out of memory: raise maxmemory, or trim streams"
	case hasCode(err, "READONLY"):
		remedy = "the server is a replica: point the client at the primary"
	case hasCode(err, "MISCONF"):
		remedy = "the server cannot persist: look at its log and disk"
	case errors.Is(err, goredis.ErrClosed):
		remedy = "the client was closed: close it after its publishers and subscribers"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errReply), errors.Is(err, errWaitEnded):
		return err
	case !isReply(err):
		remedy = "check that the server runs and that the client's address is right"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

func first(keys []string) string {
	if len(keys) == 0 {
		return "topic"
	}
	return keys[0]
}

// errWrongType says that a key of ours holds something else.
var errWrongType = errors.New("WRONGTYPE Operation against a key holding the wrong kind of value")

func wrongType(key, kind string) error {
	return fmt.Errorf("%w: key %q is of %s type: rename it, or choose another topic", errWrongType, key, kind)
}

// isReply reports whether err is an answer of the server, as opposed to a fault on the way.
func isReply(err error) bool {
	_, ok := errors.AsType[goredis.Error](err)
	return ok
}

// hasCode reports whether err is an answer of the server that begins with code,
// or came up with it within a script.
func hasCode(err error, code string) bool {
	reply, ok := errors.AsType[goredis.Error](err)
	if !ok {
		return false
	}
	text := reply.Error()
	if !strings.HasPrefix(text, "ERR Error running script") {
		return strings.HasPrefix(text, code)
	}
	// Redis 6.2: ERR Error running script (call to f_…): @user_script:5: WRONGTYPE …
	// and, of a command that it refuses to run: … @user_script: 5: -READONLY …
	return strings.Contains(text, ": "+code+" ") || strings.Contains(text, ": -"+code+" ")
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	if errors.Is(err, goredis.ErrClosed) {
		return false
	}
	if !isReply(err) {
		return true
	}
	for _, code := range []string{
		"LOADING", "BUSY ", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "UNBLOCKED", "NOREPLICAS", "MISCONF", "ERR max number of clients",
	} {
		if hasCode(err, code) {
			return true
		}
	}
	return false
}

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

// explain adds to a server's or connection's error what to do about it.
func explain(err error, key string) error {
	if err == nil {
		return nil
	}
	remedy := ""
	switch {
	case hasPrefix(err, "WRONGTYPE"):
		remedy = fmt.Sprintf("key %q is of another type: delete or rename it, choose another topic, or set KeyPrefix", key)
	case hasPrefix(err, "WRONGPASS"), hasPrefix(err, "NOAUTH"), hasPrefix(err, "ERR AUTH"), hasPrefix(err, "ERR invalid password"):
		remedy = "check user and password of the client"
	case hasPrefix(err, "NOPERM"):
		remedy = fmt.Sprintf("allow the user this command on key %q", key)
	case hasPrefix(err, "OOM"):
		remedy = "the server is out of memory: raise maxmemory, or trim streams"
	case hasPrefix(err, "READONLY"):
		remedy = "the server is a replica: point the client at the primary"
	case hasPrefix(err, "MISCONF"):
		remedy = "the server cannot persist: look at its log and disk"
	case errors.Is(err, goredis.ErrClosed):
		remedy = "the client was closed: close it after its publishers and subscribers"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !isReply(err):
		remedy = "check that the server runs and that the client's address is right"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}

// isReply reports whether err is an answer of the server, as opposed to a fault on the way.
func isReply(err error) bool {
	_, ok := errors.AsType[goredis.Error](err)
	return ok
}

func hasPrefix(err error, prefix string) bool {
	reply, ok := errors.AsType[goredis.Error](err)
	return ok && strings.HasPrefix(reply.Error(), prefix)
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	if errors.Is(err, goredis.ErrClosed) {
		return false
	}
	if !isReply(err) {
		return true
	}
	for _, prefix := range []string{"LOADING", "BUSY ", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "NOSCRIPT", "UNBLOCKED"} {
		if hasPrefix(err, prefix) {
			return true
		}
	}
	return false
}

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

func TestCodesOfErrorsAreFoundInTheFormsOfAllServers(t *testing.T) {
	const in62 = "ERR Error running script (call to f_0123456789abcdef): @user_script:5: "
	for text, code := range map[string]string{
		"WRONGTYPE Operation against a key holding the wrong kind of value":                                                   "WRONGTYPE",
		"NOREPLICAS Not enough good replicas to write. script: 0123, on @user_script:14.":                                     "NOREPLICAS",
		in62 + "WRONGTYPE Operation against a key holding the wrong kind of value ":                                           "WRONGTYPE",
		in62 + "NOGROUP No such key 't' or consumer group 'g' ":                                                               "NOGROUP",
		in62 + "@user_script: 5: -READONLY You can't write against a read only replica.  ":                                    "READONLY", // refused before it ran
		in62 + "@user_script: 5: -OOM command not allowed when used memory > 'maxmemory'.  ":                                  "OOM",
		in62 + "@user_script: 5: -MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist": "MISCONF",
	} {
		err := fmt.Errorf("wrapped: %w", serverError(text))
		for _, c := range []string{"WRONGTYPE", "NOREPLICAS", "NOGROUP", "READONLY", "OOM", "MISCONF", "BUSY "} {
			if hasCode(err, c) != (c == code) {
				t.Errorf("%q: has %s: %v", text, c, c != code)
			}
		}
	}
	if hasCode(errors.New("READONLY"), "READONLY") || hasCode(nil, "") {
		t.Error("an error that is no reply has a code")
	}
	if text := serverError("ERR the value : OOM is not an integer"); hasCode(text, "OOM") {
		t.Errorf("%q: has OOM", text)
	}
}

func TestErrorsThatPassAreToldFromThoseThatStay(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, err := range []error{
		refused, errNoReply, context.DeadlineExceeded, serverError("LOADING Redis is loading"), serverError("BUSY Redis is busy running a script"),
		serverError("NOREPLICAS Not enough good replicas to write."), serverError("CLUSTERDOWN Hash slot not served"), serverError("READONLY You can't write"),
	} {
		if !passing(err) {
			t.Errorf("%v: stays", err)
		}
	}
	for _, err := range []error{
		goredis.ErrClosed, fmt.Errorf("wrapped: %w", goredis.ErrClosed), serverError("WRONGTYPE Operation"), serverError("NOPERM no permissions"), serverError("BUSYGROUP exists"),
	} {
		if passing(err) {
			t.Errorf("%v: passes", err)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{serverError("WRONGTYPE Operation"), `key "{t}:a or {t}:b" is of another type: rename it, or choose another topic`},
		{serverError("CROSSSLOT Keys in request don't hash to the same slot"), "hash tag, such as {t}:a"},
		{serverError("NOAUTH Authentication required."), "user and password"},
		{serverError("NOPERM this user"), "allow the user this command on {t}:a, {t}:b"},
		{serverError("OOM command not allowed"), "raise maxmemory"},
		{serverError("READONLY You can't"), "primary"},
		{serverError("MISCONF Redis is"), "cannot persist"},
		{goredis.ErrClosed, "close it after its publishers and subscribers"},
		{errors.New("connection refused"), "check that the server runs"},
	} {
		got := explain(tt.err, "{t}:a", "{t}:b")
		if !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%v: %q, want %q in it", tt.err, got, tt.want)
		}
		if !errors.Is(got, tt.err) && !errors.Is(got, errWrongType) {
			t.Errorf("%v: not wrapped in %v", tt.err, got)
		}
	}
	for _, err := range []error{nil, context.Canceled, serverError("ERR unknown")} {
		if got := explain(err); got != err {
			t.Errorf("%v: explained as %v", err, got)
		}
	}
}

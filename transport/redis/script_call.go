package redis

import (
	"cmp"
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// sharedScript is a script that is called by commands of a sharer.
type sharedScript struct {
	*goredis.Script
	source, hash string
}

func newSharedScript(source string) *sharedScript {
	s := goredis.NewScript(source)
	return &sharedScript{s, source, s.Hash()}
}

// scriptCall is one call of a script, and its reply.
type scriptCall struct {
	script *sharedScript
	keys   []string
	args   []any
	reply  any
}

func (c *scriptCall) command(ctx context.Context, name, script string) *goredis.Cmd {
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	args = append(args, name, script, len(c.keys))
	for i := range c.keys {
		args = append(args, &c.keys[i]) // a string in an interface would be an allocation
	}
	return goredis.NewCmd(ctx, append(args, c.args...)...)
}

// run makes calls of scripts, in one round trip, which it shares with others if
// it is one call. It returns the first error.
func (s *sharer) run(ctx context.Context, calls ...*scriptCall) error {
	err := s.send(ctx, calls, func(c *scriptCall) *goredis.Cmd { return c.command(ctx, "evalsha", c.script.hash) })
	if hasCode(err, "NOSCRIPT") { // The server does not know it, or not any more.
		err = s.send(ctx, calls, func(c *scriptCall) *goredis.Cmd { return c.command(ctx, "eval", c.script.source) })
	}
	return err
}

func (s *sharer) send(ctx context.Context, calls []*scriptCall, command func(*scriptCall) *goredis.Cmd) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmds := make([]*goredis.Cmd, len(calls))
	pipe := goredis.Pipeliner(nil)
	if len(calls) > 1 {
		pipe = s.client.Pipeline()
	}
	var sent error
	for i, c := range calls {
		cmds[i] = command(c)
		if pipe == nil {
			sent = s.Process(ctx, cmds[i])
		} else if err := pipe.Process(ctx, cmds[i]); err != nil {
			return err
		}
	}
	if pipe != nil {
		_, sent = pipe.Exec(ctx)
	}
	for i, cmd := range cmds {
		err := cmd.Err()
		if err == nil && cmd.Val() == nil { // not even sent; see Publisher.Publish
			err = cmp.Or(sent, errNoReply)
		}
		if err != nil {
			return err
		}
		calls[i].reply = cmd.Val()
	}
	return nil
}

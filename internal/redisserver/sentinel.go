package redisserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// StartSentinel starts a Sentinel that watches the primary at an address under a
// name. It decides alone, and soon: a primary that is silent for half a second is down.
func StartSentinel(ctx context.Context, name, primary string) (*Server, error) {
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		return nil, err
	}
	s := &Server{}
	s.args = func(own string) ([]string, error) {
		file := filepath.Join(s.dir, "sentinel.conf") // It keeps there what it learns.
		text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\n", own, s.dir) +
			fmt.Sprintf("sentinel monitor %s %s %s 1\n", name, host, port) +
			fmt.Sprintf("sentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 5000\n", name, name)
		return []string{file, "--sentinel"}, os.WriteFile(file, []byte(text), 0o600)
	}
	return start(ctx, s)
}

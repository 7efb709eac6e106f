// Package redisserver starts private redis-server processes for tests and
// benchmarks, each on a free port of the loopback address with a directory of
// its own. Another server, or another version, is named by the environment
// variable EVENTS_REDIS_SERVER, such as EVENTS_REDIS_SERVER=valkey-server.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// ErrMissing says that this machine has no redis-server.
var ErrMissing = errors.New("redis-server is not installed: run 'make test' as root, 'apt-get install redis-server', or 'brew install redis'")

// Server is one running redis-server process.
type Server struct {
	// Addr is host:port on the loopback address.
	Addr string

	dir  string
	env  []string
	args func(port string) ([]string, error)
	cmd  *exec.Cmd
	log  bytes.Buffer
	done <-chan struct{} // closed when the process has ended
}

// Start starts a server and waits until it answers. More command-line settings
// can be given, such as "--requirepass", "secret". Without such settings it
// keeps an append-only file, so that Restart loses nothing: each command is
// written before it is answered, and the death of a process needs no fsync. (With
// "everysec" a write waits for an fsync under way, and may die with the process.)
func Start(ctx context.Context, args ...string) (*Server, error) {
	return StartEnv(ctx, nil, args...)
}

// StartEnv is Start with further variables in the server's environment, each
// "NAME=value".
func StartEnv(ctx context.Context, env []string, args ...string) (*Server, error) {
	s := &Server{env: env}
	s.args = func(port string) ([]string, error) {
		return append([]string{
			"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "",
			"--appendonly", "yes", "--appendfsync", "no", "--loglevel", "warning",
		}, args...), nil
	}
	return start(ctx, s)
}

func start(ctx context.Context, s *Server) (_ *Server, err error) {
	if s.dir, err = os.MkdirTemp("", "redisserver-"); err != nil {
		return nil, err
	}
	// A port that was free a moment ago may be taken: try again with another.
	for range 5 {
		if err = s.listenSomewhere(ctx); err == nil {
			return s, nil
		}
		if errors.Is(err, ErrMissing) || ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) listenSomewhere(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	return s.run(ctx)
}

func (s *Server) run(ctx context.Context) error {
	bin, err := binary()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args, err := s.args(port)
	if err != nil {
		return err
	}
	s.log.Reset()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	done, err := startTied(cmd)
	if err != nil {
		return err
	}
	s.cmd, s.done = cmd, done
	return s.waitReady(ctx, strconv.Itoa(s.cmd.Process.Pid))
}

// waitReady asks the server for its process id, so that another server that
// took the port is not mistaken for ours.
func (s *Server) waitReady(ctx context.Context, pid string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		if s.answers(pid) {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("redis-server on %s ended at once: %s", s.Addr, s.log.String())
		case <-ctx.Done():
			s.Kill()
			return ctx.Err()
		case <-limit.C:
			s.Kill()
			return fmt.Errorf("redis-server on %s does not answer: %s", s.Addr, s.log.String())
		}
	}
}

func (s *Server) answers(pid string) bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	// INFO is answered while the data is being loaded, PING is not.
	if _, err := conn.Write([]byte("INFO server\r\nPING\r\n")); err != nil {
		return false
	}
	var reply []byte
	for buf := make([]byte, 8<<10); ; {
		n, err := conn.Read(buf)
		reply = append(reply, buf[:n]...)
		switch {
		case bytes.HasSuffix(reply, []byte("+PONG\r\n")):
			return bytes.Contains(reply, []byte("process_id:"+pid+"\r"))
		case bytes.HasPrefix(reply, []byte("-NOAUTH")), bytes.HasPrefix(reply, []byte("-NOPERM")):
			return true // With a password or an ACL the server refuses, which is an answer as well.
		case err != nil, bytes.Contains(reply, []byte("\n-LOADING")):
			return false
		}
	}
}

// Dir is the server's directory: where it writes its files.
func (s *Server) Dir() string { return s.dir }

// Kill ends the process with SIGKILL and waits for it. It may be called twice.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // An error means that it has ended already.
	<-s.done
}

// Restart kills the process if it runs and starts it again on the same port
// with the same directory.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	return s.run(ctx)
}

// Signal sends a signal to the process, such as SIGSTOP.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Close ends the process and removes its directory.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}

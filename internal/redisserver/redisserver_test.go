package redisserver_test

import (
	"errors"
	"net"
	"testing"

	"github.com/logistically/events/internal/redisserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAMissingServerSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := redisserver.Start(t.Context()); !errors.Is(err, redisserver.ErrMissing) {
		t.Errorf("error %v", err)
	}
}

func TestARestartedServerHasItsDataAndAKilledOneIsGone(t *testing.T) {
	s := redisserver.New(t)
	say := func(command, want string) {
		t.Helper()
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if got := string(buf[:n]); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", command, got, err, want)
		}
	}
	say("SET k v", "+OK\r\n")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	say("GET k", "$1\r\nv\r\n")
	s.Kill()
	s.Kill()
	if conn, err := net.Dial("tcp", s.Addr); err == nil {
		t.Errorf("a killed server answers: %v", conn.Close())
	}
}

package redisserver_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
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

func TestAnotherServerCanBeNamed(t *testing.T) {
	usual, err := redisserver.Version(t.Context())
	if err != nil || !strings.Contains(usual, "v=") {
		t.Errorf("version %q, %v", usual, err)
	}
	t.Setenv("EVENTS_REDIS_SERVER", "no-such-server")
	if _, err := redisserver.Start(t.Context()); !errors.Is(err, redisserver.ErrMissing) || !strings.Contains(err.Error(), "no-such-server") {
		t.Errorf("start: %v", err)
	}
	if _, err := redisserver.Version(t.Context()); !errors.Is(err, redisserver.ErrMissing) {
		t.Errorf("version: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other-server")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho Other server v=1.2.3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EVENTS_REDIS_SERVER", other)
	if v, err := redisserver.Version(t.Context()); err != nil || v != "other-server: Other server v=1.2.3" {
		t.Errorf("version %q, %v", v, err)
	}
}

package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/logistically/events/internal/redisserver"
)

// The whole program on a real server: it serves /health, and SIGTERM ends it.
func TestProgramDrainsOnSIGTERM(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := l.Addr().String()
	check(t, l.Close())
	t.Setenv("ADDR", addr)
	t.Setenv("REDIS_URL", "redis://"+redisserver.New(t).Addr)
	t.Setenv("FAILED_FILE", filepath.Join(t.TempDir(), "failed.jsonl"))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		main()
	}()
	health := awaitHealth(t, "http://"+addr+"/health")
	if health["transport"] != "connected" || health["publisher"] == nil || health["consumer"] == nil {
		t.Errorf("health %v", health)
	}
	check(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("SIGTERM does not end the program")
	}
	if _, err := os.Stat(os.Getenv("FAILED_FILE")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("events were saved as failed: %v", err)
	}
}

// awaitHealth waits until the program says that it is healthy.
func awaitHealth(t *testing.T, url string) (health map[string]any) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	limit := time.After(20 * time.Second)
	for {
		resp, err := client.Get(url)
		if err == nil {
			health = nil
			check(t, errors.Join(json.NewDecoder(resp.Body).Decode(&health), resp.Body.Close()))
			if resp.StatusCode == http.StatusOK {
				return health
			}
		}
		select {
		case <-limit:
			t.Fatalf("not healthy: %v, %v", health, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// The program takes its time, as a request is not finished; an operator who
// cannot wait sends the signal again.
func TestASecondSIGTERMEndsTheProgramAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := l.Addr().String()
	check(t, l.Close())
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), "RUN_USERSERVICE=1", "ADDR="+addr, "REDIS_URL=redis://"+redisserver.New(t).Addr, "FAILED_FILE="+filepath.Join(t.TempDir(), "failed.jsonl"))
	check(t, program.Start())
	awaitHealth(t, "http://"+addr+"/health")
	request, err := net.Dial("tcp", addr)
	check(t, err)
	defer request.Close()
	_, err = request.Write([]byte("GET /health HTTP/1.1\r\n"))
	check(t, err)

	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	begun := time.Now()
	for again := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			status, _ := program.ProcessState.Sys().(syscall.WaitStatus)
			if took := time.Since(begun); !status.Signaled() || took > 4*time.Second {
				t.Errorf("ended by %v after %v, want by the signal, and not by the 5 s for requests", err, took)
			}
			return
		case <-again.C:
			check(t, program.Process.Signal(syscall.SIGTERM))
		}
	}
}

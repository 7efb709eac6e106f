package redisserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

const crashing = "REDISSERVER_TEST_CRASHING"

// A test binary that is killed is played by this one, run once more.
func TestAServerEndsWithAProcessThatCrashes(t *testing.T) {
	if os.Getenv(crashing) != "" {
		fmt.Println(New(t).Addr)
		_, err := io.Copy(io.Discard, os.Stdin) // until it is killed
		t.Fatalf("not killed: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), crashing+"=1", "TMPDIR="+t.TempDir())
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	conn, dialErr := net.Dial("tcp", lines.Text())
	if err := errors.Join(lines.Err(), cmd.Process.Kill()); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // It says that it was killed.
	if dialErr != nil {
		t.Fatal(dialErr)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The connection ends when the server does.
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server outlives the process that has started it")
		_, _ = conn.Write([]byte("SHUTDOWN NOSAVE\r\n")) // If that fails too, it stays.
	}
}

// A terminal sends its signals to a whole process group.
func TestWhatATerminalSendsDoesNotReachTheServer(t *testing.T) {
	cmd := exec.Command("cat")
	if _, err := cmd.StdinPipe(); err != nil { // so that it waits
		t.Fatal(err)
	}
	done, err := startTied(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if group, err := syscall.Getpgid(cmd.Process.Pid); err != nil || group == syscall.Getpgrp() {
		t.Errorf("its process group is ours, %d (%v)", group, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-done
}

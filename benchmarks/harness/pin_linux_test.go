package harness

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAPinnedProcessAndItsServerHaveACoreEachAndAllAgainAfterwards(t *testing.T) {
	server := exec.Command("cat")
	stdin, err := server.StdinPipe() // so that it waits
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = server.Wait()
	})
	allowed := func(pid int) (set unix.CPUSet) {
		t.Helper()
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	all, procs := allowed(os.Getpid()), runtime.GOMAXPROCS(0)

	unpin, err := pin(server.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := coresOf(allowed(os.Getpid())), coresOf(allowed(server.Process.Pid))
	if all.Count() > 1 && (len(ours) != 1 || len(theirs) != 1 || ours[0] == theirs[0]) {
		t.Errorf("pinned, the process may use cores %v and its server %v; want one each", ours, theirs)
	}
	if err := unpin(); err != nil {
		t.Fatal(err)
	}
	if allowed(os.Getpid()) != all || allowed(server.Process.Pid) != all || runtime.GOMAXPROCS(0) != procs {
		t.Errorf("unpinned, they may use %v and %v, not %v", coresOf(allowed(os.Getpid())), coresOf(allowed(server.Process.Pid)), coresOf(all))
	}
}

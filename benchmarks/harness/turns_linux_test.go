package harness

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAServerIsOnEachCoreInTurnAndMayUseAllAfterwards(t *testing.T) {
	for name, apart := range map[string]bool{"the process uses all cores": false, "the process is apart": true} {
		t.Run(name, func(t *testing.T) {
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
			if all.Count() < 2 {
				t.Log("there is one core for both")
			}

			end, err := takeTurns(server.Process.Pid, apart)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int]bool{}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for start := time.Now(); len(seen) < all.Count() && time.Since(start) < 20*time.Second; <-tick.C {
				theirs := coresOf(allowed(server.Process.Pid))
				if len(theirs) != 1 && all.Count() > 1 {
					t.Fatalf("the server may use the cores %v at a time", theirs)
				}
				for _, core := range theirs {
					seen[core] = true
				}
			}
			if len(seen) != all.Count() {
				t.Errorf("the server was on the cores %v of %v", seen, coresOf(all))
			}
			if ours := allowed(os.Getpid()); all.Count() > 1 && (ours.Count() < all.Count()) != apart {
				t.Errorf("meanwhile the process may use the cores %v of %v", coresOf(ours), coresOf(all))
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if allowed(os.Getpid()) != all || allowed(server.Process.Pid) != all || runtime.GOMAXPROCS(0) != procs {
				t.Errorf("afterwards they may use %v and %v, not %v", coresOf(allowed(os.Getpid())), coresOf(allowed(server.Process.Pid)), coresOf(all))
			}
		})
	}
}

func TestAServerThatIsGoneIsReported(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if end, err := takeTurns(gone.Process.Pid, true); err == nil && all.Count() > 1 {
		t.Errorf("no error (%v)", end())
	}
	var after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &after); err != nil {
		t.Fatal(err)
	}
	if after != all {
		t.Errorf("the process may use the cores %v, not %v", coresOf(after), coresOf(all))
	}
}

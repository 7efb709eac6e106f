package harness

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// NewEnvironment describes this machine. What cannot be found out is left empty.
func NewEnvironment(ctx context.Context, contestants []Contestant) Environment {
	e := Environment{
		Cores:     runtime.NumCPU(),
		OS:        runtime.GOOS + "/" + runtime.GOARCH,
		Go:        runtime.Version(),
		CPU:       procValue("/proc/cpuinfo", "model name"),
		Redis:     firstMatch(output(ctx, "redis-server", "--version"), `v=(\S+)`),
		Commit:    strings.TrimSpace(output(ctx, "git", "describe", "--always", "--dirty", "--abbrev=9")),
		Libraries: map[string]string{},
	}
	if kib, err := strconv.ParseFloat(firstMatch(procValue("/proc/meminfo", "MemTotal"), `(\d+)`), 64); err == nil {
		e.MemoryGiB = kib / (1 << 20)
	}
	for _, c := range contestants {
		e.Libraries[c.Name] = c.Library
	}
	return e
}

func procValue(file, key string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return firstMatch(string(data), `(?m)^`+key+`\s*:\s*(.*)$`)
}

func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func firstMatch(text, pattern string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

package events_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fragments of the README are compiled inside a function that has these.
const readmeScope = `
func _(ctx context.Context, client goredis.UniversalClient, pub, terminal message.Publisher, r *router.Router, schemas events.Validator, store middleware.IdempotencyStore, users []struct{ Email string }, t *testing.T) {
	type UserCreated struct{ Email string }
	type Mail struct{ To string }
	var err error
	%s
	use(%s)
}
func use(...any) {}
`

var readmeImports = []string{
	"context", "errors", "fmt", "log", "net/http", "testing", "testing/synctest", "time", "github.com/ThreeDotsLabs/watermill/message",
	module, module + "/batching", module + "/eventstest", module + "/middleware", module + "/router", module + "/transport/redis",
}

func TestReadmeCodeCompiles(t *testing.T) {
	compile(t, "README.md", func(src string) string {
		if !strings.HasPrefix(src, "package ") {
			src = completeFragment(src)
		}
		return src
	})
}

// Of docs/MIGRATING.md, programs are compiled, and fragments, which may be of
// other libraries, are not.
func TestMigratingCodeCompiles(t *testing.T) {
	compile(t, "docs/MIGRATING.md", func(src string) string {
		if !strings.HasPrefix(src, "package ") {
			return ""
		}
		return src
	})
}

// compile builds what complete makes of each Go block of a page, unless that is
// empty.
func compile(t *testing.T, page string, complete func(src string) string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := map[string]map[string]string{"Replace": {}}
	args := []string{"build", "-overlay", filepath.Join(dir, "overlay.json")} // of several programs it keeps none, and does not link them
	for i, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1) {
		src := complete(string(block[1]))
		if src == "" {
			continue
		}
		name := fmt.Sprintf("block%d", i)
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay["Replace"][filepath.Join(root, "internal", "readme", name, "main.go")] = file
		args = append(args, "./internal/readme/"+name)
	}
	if len(args) < 5 {
		t.Fatalf("found no two Go blocks in %s", page)
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("go build of the code in %s: %v\n%s", page, err, out)
	}
}

func completeFragment(src string) string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^(\w+), err := `).FindAllStringSubmatch(src, -1) {
		names = append(names, m[1])
		if m[1] == "pub" { // a parameter already
			src = strings.Replace(src, "pub, err := ", "pub, err = ", 1)
		}
	}
	body := fmt.Sprintf(readmeScope, src, strings.Join(append(names, "err"), ", "))
	imports := `goredis "github.com/redis/go-redis/v9"` + "\n"
	for _, path := range readmeImports {
		if regexp.MustCompile(`\b` + filepath.Base(path) + `\.`).MatchString(body) {
			imports += fmt.Sprintf("%q\n", path)
		}
	}
	return "package fragment\n\nimport (\n" + imports + ")\n" + body
}

package events_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/logistically/events"

// mayImport is the direction of imports: for each package of the library, the
// packages of this module that its shipped code may import.
var mayImport = map[string][]string{
	"":                          {"internal/contextkey", "internal/hextext", "internal/jsontext", "internal/nilcheck"},
	"transport":                 {"", "internal/contextkey", "internal/nilcheck"},
	"transport/redis":           {"", "transport", "transport/redis/internal/pack", "internal/jsontext", "internal/nilcheck"},
	"transport/memory":          {"", "transport"},
	"transport/console":         {"", "transport"},
	"transport/transporttest":   {"", "transport"},
	"validation":                {""},
	"cloudevents":               {"", "internal/nilcheck"},
	"batching":                  {"", "internal/nilcheck", "transport"},
	"batching/spool":            {"", "internal/nilcheck"},
	"router":                    {"", "internal/contextkey", "internal/nilcheck", "transport"},
	"middleware":                {"", "internal/contextkey", "internal/nilcheck", "internal/packed", "transport"},
	"middleware/middlewaretest": {"", "transport"},
	"middleware/sqlonce":        {"", "internal/packed", "internal/sqldialect"},
	"outbox":                    {"", "internal/nilcheck", "internal/sqldialect", "transport"},
	"eventstest":                {"", "router", "transport", "transport/memory"},
	"internal/contextkey":       {},
	"internal/hextext":          {},
	"internal/jsontext":         {},
	"observability":             {""},
	"config":                    {"", "batching", "middleware", "router", "transport/console", "transport/memory", "transport/redis"},
	"internal/docgen":           {"config"},
	"internal/measure":          {},
	"internal/nilcheck":         {},
	"internal/packed":           {},
	"internal/sqldialect":       {""},
	"internal/redisserver":      {},
	"internal/webhooks":         {},

	"transport/redis/internal/pack": {"internal/hextext"},
}

// mayLink names, for packages that people link into services, what they may
// import from other modules.
var mayLink = map[string][]string{
	"":                 {"github.com/ThreeDotsLabs/watermill/message", "github.com/google/uuid"},
	"transport":        {"github.com/ThreeDotsLabs/watermill/message"},
	"transport/redis":  {"github.com/ThreeDotsLabs/watermill/message", "github.com/redis/go-redis/v9", "github.com/vmihailenco/msgpack/v5", "github.com/cenkalti/backoff/v4", "github.com/google/uuid"},
	"transport/memory": {"github.com/ThreeDotsLabs/watermill/message"},

	"transport/redis/internal/pack": {"github.com/ThreeDotsLabs/watermill/message", "github.com/klauspost/compress/zstd"},

	"transport/console": {"github.com/ThreeDotsLabs/watermill/message"},
	"validation":        {"github.com/google/jsonschema-go", "github.com/santhosh-tekuri/jsonschema/v6", "golang.org/x/text"},
	"cloudevents":       {"github.com/ThreeDotsLabs/watermill/message"},
	"batching":          {"github.com/ThreeDotsLabs/watermill/message"},
	"batching/spool":    {"github.com/ThreeDotsLabs/watermill/message"},
	"router":            {"github.com/ThreeDotsLabs/watermill/message"},
	"middleware": {"github.com/ThreeDotsLabs/watermill/message", "github.com/cenkalti/backoff/v4", "github.com/google/uuid",
		"go.opentelemetry.io/otel", "golang.org/x/time/rate", "github.com/sony/gobreaker/v2"},
	"middleware/middlewaretest": {"github.com/ThreeDotsLabs/watermill/message"},
	"middleware/sqlonce":        {"github.com/ThreeDotsLabs/watermill/message"},
	"outbox":                    {"github.com/ThreeDotsLabs/watermill/message"},
	"eventstest":                {"github.com/ThreeDotsLabs/watermill/message", "github.com/google/go-cmp/cmp"},
	"observability":             {},
	"config":                    {"github.com/ThreeDotsLabs/watermill/message", "github.com/redis/go-redis/v9"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Standard,Module"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		exit, _ := errors.AsType[*exec.ExitError](err)
		t.Fatalf("go list: %v: %s", err, exit.Stderr)
	}
	var packages []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestImportsGoInOneDirection(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if strings.HasPrefix(name, "examples/") || strings.HasPrefix(name, "internal/e2e") {
			continue // on top of the house: may import anything
		}
		allowed, ok := mayImport[name]
		if !ok {
			t.Errorf("package %s has no place in the import rules: add it to mayImport", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if inside, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(allowed, strings.TrimPrefix(inside, "/")) {
				t.Errorf("%s must not import %s", p.ImportPath, imp)
			}
			links, limited := mayLink[name]
			if limited && strings.Contains(strings.Split(imp, "/")[0], ".") && !strings.HasPrefix(imp, module) &&
				!slices.ContainsFunc(links, func(l string) bool { return imp == l || strings.HasPrefix(imp, l+"/") }) {
				t.Errorf("%s must not link %s", p.ImportPath, imp)
			}
		}
	}
}

// A service that publishes and consumes over Redis links this and no more:
// no OTel SDK, no schema library, no test library, no peer.
func TestAServiceOnRedisLinksFewModules(t *testing.T) {
	var got []string
	for _, p := range list(t, "-deps", module, module+"/transport/redis", module+"/router") {
		if !p.Standard && p.Module != nil && p.Module.Path != module && !slices.Contains(got, p.Module.Path) {
			got = append(got, p.Module.Path)
		}
	}
	slices.Sort(got)
	want := []string{
		"github.com/ThreeDotsLabs/watermill",
		"github.com/cenkalti/backoff/v4",
		"github.com/cespare/xxhash/v2",
		"github.com/google/uuid",
		"github.com/klauspost/compress",
		"github.com/lithammer/shortuuid/v3",
		"github.com/oklog/ulid",
		"github.com/pkg/errors",
		"github.com/redis/go-redis/v9",
		"github.com/vmihailenco/msgpack/v5",
		"github.com/vmihailenco/tagparser/v2",
		"go.uber.org/atomic",
		"golang.org/x/sys",
	}
	for _, m := range got {
		if !slices.Contains(want, m) {
			t.Errorf("links %s, which is not on the list", m)
		}
	}
	t.Logf("%d modules linked: %s", len(got), strings.Join(got, ", "))
}

// What tests need stays in tests.
func TestNoServiceLinksTheTestKit(t *testing.T) {
	for _, service := range []string{"/examples/quickstart", "/examples/userservice"} {
		for _, p := range list(t, "-deps", module+service) {
			if p.ImportPath == "testing" || p.ImportPath == module+"/eventstest" || strings.HasPrefix(p.ImportPath, "github.com/google/go-cmp/") {
				t.Errorf("%s links %s", service, p.ImportPath)
			}
		}
	}
}

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// read returns a document's lines outside of its code blocks.
func read(t *testing.T, name string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	code := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			continue
		}
		if !code {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return lines
}

// names returns the exported names of the public packages, with fields and methods,
// each after the name of its package: "redis.SubscriberConfig.Group".
func names(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, p := range public(t) {
		found[p.Name] = true
		add := func(parts ...string) { found[p.Name+"."+strings.Join(parts, ".")] = true }
		for _, v := range slices.Concat(p.Consts, p.Vars) {
			for _, n := range v.Names {
				add(n)
			}
		}
		for _, f := range p.Funcs {
			add(f.Name)
		}
		for _, t := range p.Types {
			add(t.Name)
			for _, v := range slices.Concat(t.Consts, t.Vars) {
				for _, n := range v.Names {
					add(n)
				}
			}
			for _, f := range t.Funcs {
				add(f.Name)
			}
			for _, f := range t.Methods {
				add(t.Name, f.Name)
			}
			for _, spec := range t.Decl.Specs {
				var fields *ast.FieldList
				switch s := spec.(*ast.TypeSpec).Type.(type) {
				case *ast.StructType:
					fields = s.Fields
				case *ast.InterfaceType:
					fields = s.Methods
				default:
					continue
				}
				for _, f := range fields.List {
					for _, n := range f.Names {
						add(t.Name, n.Name)
					}
				}
			}
		}
	}
	return found
}

var quoted = regexp.MustCompile("`([^`]+)`")

func TestNamesInTheDocumentationExist(t *testing.T) {
	known := names(t)
	n := 0
	for _, name := range []string{"docs/PARITY.md", "docs/TROUBLESHOOTING.md", "docs/CONFIGURATION.md", "docs/PRODUCTION.md"} {
		for _, line := range read(t, name) {
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				ours := regexp.MustCompile(`^(\w+)\.([A-Z]\w*(?:\.[A-Z]\w*)?)`).FindStringSubmatch(m[1])
				if ours == nil || !known[ours[1]] {
					continue
				}
				if n++; !known[ours[0]] {
					t.Errorf("%s names %s, which does not exist", name, ours[0])
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("found %d names: the documents have more", n)
	}
}

func TestLinksInTheDocumentationLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, page := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		rel, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range read(t, rel) {
			for _, m := range link.FindAllStringSubmatch(quoted.ReplaceAllString(line, "``"), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
					t.Errorf("%s: a link leads nowhere: %v", rel, err)
				}
			}
		}
	}
}

// testsOf returns the test, example and fuzz functions of a package directory.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				found[fn.Name.Name] = true
			}
		}
	}
	return found
}

var proof = regexp.MustCompile("`([a-z0-9/]+) ((?:Test|Example|Fuzz)\\w*)`")

// A proof is named as `directory Function`, the root being events.
func TestProofsInTheDocumentationExist(t *testing.T) {
	tests := map[string]map[string]bool{}
	for _, name := range []string{"docs/PARITY.md", "docs/TROUBLESHOOTING.md"} {
		for i, line := range read(t, name) {
			for _, m := range proof.FindAllStringSubmatch(line, -1) {
				dir := m[1]
				if dir == "events" {
					dir = "."
				}
				if tests[dir] == nil {
					tests[dir] = testsOf(t, dir)
				}
				if !tests[dir][m[2]] {
					t.Errorf("%s, line %d of its text: %s has no %s", name, i+1, path.Clean(dir), m[2])
				}
			}
		}
	}
	if len(tests) < 10 {
		t.Errorf("found proofs in %d packages only", len(tests))
	}
}

func TestTroubleshootingIsComplete(t *testing.T) {
	var entry string
	parts := map[string]string{}
	n := 0
	check := func() {
		if entry == "" {
			return
		}
		n++
		for _, part := range []string{"Cause", "How to see it", "Remedy"} {
			if len(parts[part]) < 20 {
				t.Errorf("%q has no %q", entry, part)
			}
		}
	}
	for _, line := range read(t, "docs/TROUBLESHOOTING.md") {
		if title, ok := strings.CutPrefix(line, "### "); ok {
			check()
			entry, parts = title, map[string]string{}
		}
		if m := regexp.MustCompile(`^- \*\*(.+?)\.\*\* (.*)`).FindStringSubmatch(line); m != nil {
			parts[m[1]] = m[2]
		}
	}
	check()
	if n < 20 {
		t.Error(fmt.Sprint("only ", n, " entries"))
	}
}

// What the log is said to say it says.
func TestLogLinesInTroubleshootingExist(t *testing.T) {
	var source strings.Builder
	for _, dir := range []string{"transport/redis", "router", "batching", "middleware"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") {
				source.Write(text)
			}
		}
	}
	n := 0
	for _, line := range read(t, "docs/TROUBLESHOOTING.md") {
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			if !strings.HasPrefix(m[1], `"`) {
				continue
			}
			if n++; !strings.Contains(source.String(), m[1]) {
				t.Errorf("nothing logs %s", m[1])
			}
		}
	}
	if n < 5 {
		t.Errorf("found %d lines", n)
	}
}

package main

import (
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/logistically/events/config"
)

const (
	begin = "<!-- settings, by go generate ./internal/docgen -->\n"
	end   = "<!-- end of settings -->\n"
)

// configuration is the page with its list of settings renewed.
func configuration(root string, list []pkg) (string, error) {
	page, err := os.ReadFile(filepath.Join(root, "docs/CONFIGURATION.md"))
	if err != nil {
		return "", err
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", fmt.Errorf("docs/CONFIGURATION.md has no place for its list, between %q and %q", begin, end)
	}
	comments := map[string]string{}
	for _, p := range list {
		p.fields(comments)
	}
	var b strings.Builder
	b.WriteString(before + begin + "| environment | file | field | |\n| --- | --- | --- | --- |\n")
	env := config.Keys("EVENTS")
	for i, name := range config.Keys("") {
		field := fieldOf(name)
		fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s |\n", env[i], name, path.Base(field), comments[field])
	}
	return b.String() + end + after, nil
}

// fields notes the first sentence of the comment of each field of each struct, by
// "transport/redis.SubscriberConfig.Group".
func (p *pkg) fields(comments map[string]string) {
	for _, t := range p.Types {
		for _, spec := range t.Decl.Specs {
			s, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					comments[path.Join(module, p.dir)+"."+t.Name+"."+name.Name] = p.line(f.Doc.Text())
				}
			}
		}
	}
}

// fieldOf returns the field that a setting sets, with the import path of its
// package.
func fieldOf(name string) (field string) {
	t := reflect.TypeFor[config.Settings]()
	for part := range strings.SplitSeq(name, ".") {
		f, ok := t.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, part) })
		if !ok {
			return ""
		}
		field = t.PkgPath() + "." + t.Name() + "." + f.Name
		t = f.Type
	}
	return field
}

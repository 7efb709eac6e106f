package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/logistically/events"

// pkg is a package for people who use this module.
type pkg struct {
	*doc.Package
	dir  string // below the module's root; "." for the root
	fset *token.FileSet
}

// packages returns the public packages, the root first.
func packages(root string) (list []pkg, err error) {
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		dir, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		base := filepath.Base(dir)
		hidden := dir != "." && (strings.HasPrefix(base, ".") || slices.Contains([]string{"internal", "examples", "testdata", "cmd", "docs"}, base))
		if _, err := os.Stat(filepath.Join(name, "go.mod")); hidden || dir != "." && err == nil {
			return fs.SkipDir
		}
		p, err := load(name, filepath.ToSlash(dir))
		if p.Package != nil {
			list = append(list, p)
		}
		return err
	})
	return list, err
}

// load parses a directory; the package is nil if there is none in it.
func load(name, dir string) (pkg, error) {
	p := pkg{dir: dir, fset: token.NewFileSet()}
	var files []*ast.File
	entries, err := os.ReadDir(name)
	if err != nil {
		return p, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(p.fset, filepath.Join(name, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return p, err
		}
		files = append(files, f)
	}
	if len(files) == 0 || files[0].Name.Name == "main" {
		return p, nil
	}
	p.Package, err = doc.NewFromFiles(p.fset, files, path.Join(module, dir))
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	}
	return p, err
}

// file returns the file of a declaration, for a link from docs.
func (p *pkg) file(at token.Pos) string {
	return path.Join("..", p.dir, filepath.Base(p.fset.Position(at).Filename))
}

// line returns the first sentence of a comment, such that it fits into a table.
func (p *pkg) line(comment string) string {
	text := strings.Join(strings.Fields(p.Synopsis(comment)), " ")
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(text)
}

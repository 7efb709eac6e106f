package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/doc"
	"go/token"
	"strings"
)

// api lists every exported name of the public packages.
func api(_ string, list []pkg) (string, error) {
	var b strings.Builder
	b.WriteString(`# API

Every exported name, with a line about it and a link to the file that it is in. The comments there say the rest, as does
` + "`go doc`" + `. This page is generated: ` + "`go generate ./internal/docgen`" + `.

| package | what it is for |
| --- | --- |
`)
	for _, p := range list {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", title(p), anchor(title(p)), p.line(p.Doc))
	}
	for _, p := range list {
		fmt.Fprintf(&b, "\n## %s\n\n| name | |\n| --- | --- |\n", title(p))
		p.values(&b, p.Consts)
		p.values(&b, p.Vars)
		p.functions(&b, "", p.Funcs)
		for _, t := range p.Types {
			p.row(&b, t.Name, t.Doc, t.Decl.Pos())
			p.values(&b, t.Consts)
			p.values(&b, t.Vars)
			p.functions(&b, "", t.Funcs)
			p.functions(&b, t.Name+".", t.Methods)
		}
	}
	return b.String(), nil
}

func title(p pkg) string {
	if p.dir == "." {
		return "events"
	}
	return p.dir
}

func anchor(title string) string { return strings.ReplaceAll(title, "/", "") }

func (p *pkg) row(b *strings.Builder, name, comment string, at token.Pos) {
	fmt.Fprintf(b, "| [`%s`](%s) | %s |\n", name, p.file(at), p.line(comment))
}

func (p *pkg) functions(b *strings.Builder, of string, list []*doc.Func) {
	for _, f := range list {
		if f.Level == 0 { // others are of embedded types
			p.row(b, of+f.Name, f.Doc, f.Decl.Pos())
		}
	}
}

// values lists constants or variables. One of a group without a comment of its own
// has that of the group.
func (p *pkg) values(b *strings.Builder, groups []*doc.Value) {
	for _, g := range groups {
		for _, spec := range g.Decl.Specs {
			v := spec.(*ast.ValueSpec)
			for _, name := range v.Names {
				if name.IsExported() {
					p.row(b, name.Name, cmp.Or(v.Doc.Text(), v.Comment.Text(), g.Doc), name.Pos())
				}
			}
		}
	}
}

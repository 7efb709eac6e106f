package report

import (
	"fmt"
	"strings"
)

// table is a markdown table. The first columns hold words, the others numbers,
// which are aligned to the right.
type table struct {
	words int // how many of the columns hold words
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(out *strings.Builder) {
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(out, "| %s ", cell(c))
		}
		out.WriteString("|\n")
	}
	line(t.head)
	for i := range t.head {
		if i < t.words {
			out.WriteString("| --- ")
		} else {
			out.WriteString("| ---: ")
		}
	}
	out.WriteString("|\n")
	for _, r := range t.rows {
		line(r)
	}
	out.WriteString("\n")
}

// cell keeps a text within its cell.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// theirs are names in the README's code that are no part of that library: what its
// examples' own code is made of.
var theirs = strings.Fields(`
	userId name email changes updatedBy updatedAt createdAt orderId customerId items productId quantity price total action actor
	data length createUser updateUser
	publisher setupEventHandlers start stop
	publishedEvents failedEvents processedEvents failedProcessing publishSuccessRate processingSuccessRate
	incrementPublished incrementFailed incrementProcessed incrementFailedProcessing getMetrics
	failedMessages status message
	z object string number array record any positive datetime
	get json env exit on log toISOString Date`)

type row struct {
	section                    string
	first, here, proof, better string
}

// parity returns the rows of docs/PARITY.md.
func parity(t *testing.T) (rows []row, sections []string) {
	t.Helper()
	section := ""
	for _, line := range read(t, "docs/PARITY.md") {
		if _, title, ok := strings.Cut(line, "# "); ok && strings.HasPrefix(line, "#") {
			section = title
			sections = append(sections, title)
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| README |") || strings.HasPrefix(line, "| there |") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		if len(cells) != 4 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, row{section, cells[0], cells[1], cells[2], cells[3]})
	}
	return rows, sections
}

func TestNoRowOfTheParityTableIsOpen(t *testing.T) {
	rows, _ := parity(t)
	for _, r := range rows {
		if !proof.MatchString(r.proof) {
			t.Errorf("%s: %s has no test", r.section, r.first)
		}
		if rest := strings.TrimSpace(proof.ReplaceAllString(r.proof, "")); rest != "" {
			t.Errorf("%s: %s: what is %q?", r.section, r.first, rest)
		}
		if r.first == "" || r.here == "" && !strings.HasPrefix(r.first, "the example") {
			t.Errorf("%s: %q is nothing here", r.section, r.first)
		}
	}
	if len(rows) < 80 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestTheParityTableHasEveryNameOfTheREADME(t *testing.T) {
	rows, _ := parity(t)
	listed := map[string]bool{}
	for _, r := range rows {
		for _, m := range quoted.FindAllStringSubmatch(r.first, -1) {
			for _, word := range regexp.MustCompile(`\w+`).FindAllString(m[1], -1) {
				listed[word] = true
			}
		}
	}
	found := identifiers(t)
	for _, name := range found {
		if !listed[name] && !slices.Contains(theirs, name) {
			t.Errorf("the README has %s, and docs/PARITY.md has not", name)
		}
	}
	for _, name := range theirs {
		if !slices.Contains(found, name) {
			t.Errorf("%s is left out, and not in the README", name)
		}
		if listed[name] {
			t.Errorf("%s is left out, and in the table", name)
		}
	}
	for _, name := range strings.Fields("blockMs batchSize retryAttempts deadLetterStream maxPendingMessages autoAck transportType typePrefix eventNamespace originServiceName routingConfig priority maxConcurrentBatches batchingTypeStrategy addHandler getMemoryStats") {
		if !slices.Contains(found, name) {
			t.Errorf("%s is not found in the README", name)
		}
	}
}

// identifiers returns the names in the README's code: members, types, what is
// called on something, and what is imported.
func identifiers(t *testing.T) (found []string) {
	t.Helper()
	seen := map[string]bool{}
	add := func(pattern, code string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(code, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(m[1], -1) {
				if !seen[name] {
					seen[name] = true
					found = append(found, name)
				}
			}
		}
	}
	for _, code := range codeBlocks(t, func(string) bool { return true }) {
		code = regexp.MustCompile(`//.*`).ReplaceAllString(code, "")
		code = regexp.MustCompile(`'[^']*'`).ReplaceAllString(code, "''")
		code = regexp.MustCompile("`[^`]*`").ReplaceAllString(code, "``")
		add(`\b([A-Za-z_]\w*)\s*\??:`, code)
		add(`\.([A-Za-z_]\w*)`, code)
		add(`import \{([^}]*)\}`, code)
		add(`\b(?:interface|extends|new|class)\s+(\w+)`, code)
		add(`:\s*([A-Z]\w+)`, code)
		add(`(?m)^\s*(\w+),?\s*$`, code) // { validator, routingConfig }
	}
	if len(found) < 100 {
		t.Fatalf("found %d names only: %v", len(found), found)
	}
	return found
}

// codeBlocks returns the README's TypeScript under the headings that are asked for.
func codeBlocks(t *testing.T, want func(heading string) bool) (blocks []string) {
	t.Helper()
	heading, code := "", -1
	for line := range strings.Lines(readme(t)) {
		switch {
		case strings.HasPrefix(line, "```"):
			if code >= 0 {
				code = -1
			} else if code = len(blocks); strings.HasPrefix(line, "```typescript") && want(heading) {
				blocks = append(blocks, "")
			} else {
				code = 1 << 30
			}
		case code >= 0 && code < len(blocks):
			blocks[code] += line
		case strings.HasPrefix(line, "#") && code < 0:
			_, heading, _ = strings.Cut(strings.TrimSpace(line), "# ")
		}
	}
	return blocks
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/logistically-events-v2-README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheParityTableHasEveryHeadingFeatureAndExampleOfTheREADME(t *testing.T) {
	rows, sections := parity(t)
	code := false
	for line := range strings.Lines(readme(t)) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if _, title, ok := strings.Cut(strings.TrimSpace(line), "# "); ok && !code && strings.HasPrefix(line, "##") && !slices.Contains(sections, title) {
			t.Errorf("the README has a heading %q", title)
		}
		if m := regexp.MustCompile(`^- \*\*\W*(.+?)\*\*`).FindStringSubmatch(line); m != nil &&
			!slices.ContainsFunc(rows, func(r row) bool { return r.section == "Features" && r.first == "**"+m[1]+"**" }) {
			t.Errorf("the README has a feature %q", m[1])
		}
	}
	for _, section := range sections {
		blocks := codeBlocks(t, func(heading string) bool { return heading == section })
		if len(blocks) == 0 || strings.HasPrefix(strings.TrimSpace(blocks[0]), "interface") {
			continue
		}
		if !slices.ContainsFunc(rows, func(r row) bool {
			return r.section == section && strings.HasPrefix(r.first, "the example") && (strings.Contains(r.proof, " Example") || strings.Contains(r.proof, "`examples/"))
		}) {
			t.Errorf("the example under %q has no Go example", section)
		}
	}
}

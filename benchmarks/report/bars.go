package report

import (
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/logistically/events/benchmarks/harness"
)

// Lengths of the picture with bars, in points.
const (
	barWidth  = 720 // of the picture
	barMargin = 12
	barRow    = 17 // from one bar to the next
	barHeight = 11
	barTitle  = 34 // above the bars of a scenario
	barLegend = 30
	barGap    = 6 // between a bar and what is written beside it
)

// cutAt is how many times longer than those that the panel is about the bars of
// ceilings, and of contestants that keep messages elsewhere, may be. Longer ones
// are cut, since the others could not be told apart beside them.
const cutAt = 3

// bars draws a panel for each scenario of the family that stands alone, each
// with its own scale, since a bare loop and a fsync differ a thousandfold.
func bars(f *family) (picture, bool, error) {
	var alone []*scenario
	var names, figures vg.Length // the widest
	height := vg.Length(2*barMargin + barLegend)
	for _, sec := range f.sections {
		s := sec.scenarios[0]
		if sec.axis != "" || s.longest() == 0 {
			continue
		}
		alone = append(alone, s)
		height += barTitle + vg.Length(len(s.rows))*barRow
		for _, r := range s.rows {
			names = max(names, barText(r).Width(r.name))
			figures = max(figures, letters(10, ink, false).Width(s.barFigure(r)))
		}
	}
	if len(alone) == 0 {
		return picture{}, false, nil
	}
	left, right := barMargin+names+barGap, barWidth-barMargin-figures-barGap

	svg, c := canvas(barWidth, height)
	top := height - barMargin
	drawBarLegend(c, f, alone, top)
	top -= barLegend
	for _, s := range alone {
		drawPanel(c, s, left, right, top)
		top -= barTitle + vg.Length(len(s.rows))*barRow
	}
	data, err := encode(svg)
	return picture{
		measure: f.measure,
		path:    "plots/bars-" + slug(f.measure) + ".svg",
		alt:     "Bars: " + f.measure + " in " + f.unit.Name + " of each contestant, a panel for each scenario",
		svg:     data,
	}, true, err
}

func drawBarLegend(c draw.Canvas, f *family, alone []*scenario, top vg.Length) {
	x := vg.Length(barMargin)
	text := letters(10, ink, false)
	y := top - 12
	said := f.measure + ", " + f.unit.Name + ", more is better"
	if f.unit.Less {
		said = f.measure + ", " + f.unit.Name + ", less is better"
	}
	heading := letters(12, ink, true)
	c.FillText(heading, vg.Point{X: x, Y: y}, said)
	x += heading.Width(said) + 24
	for _, kind := range []harness.Kind{harness.Ours, harness.Peer, harness.Ceiling, "unknown"} {
		if !slices.ContainsFunc(alone, func(s *scenario) bool {
			return slices.ContainsFunc(s.rows, func(r row) bool { return r.kind == kind })
		}) {
			continue
		}
		fillBox(c, kind, x, y-1, x+10, y+9)
		c.FillText(text, vg.Point{X: x + 14, Y: y}, string(kind))
		x += 14 + text.Width(string(kind)) + 16
	}
	c.FillText(letters(10, faint, false), vg.Point{X: x, Y: y}, "whiskers: min to max")
}

// drawPanel draws a scenario's bars between left and right.
func drawPanel(c draw.Canvas, s *scenario, left, right, top vg.Length) {
	title := letters(11, ink, true)
	c.FillText(title, vg.Point{X: barMargin, Y: top - 25}, fit(textOr(s.Title, s.Name), title, barWidth-2*barMargin))
	top -= barTitle
	bottom := top - vg.Length(len(s.rows))*barRow
	axis := draw.LineStyle{Color: grid, Width: 1}
	for quarter := range 5 {
		x := left + (right-left)*vg.Length(quarter)/4
		c.StrokeLine2(axis, x, bottom+2, x, top-1)
	}
	scale := (right - left) / vg.Length(s.longest())
	for i, r := range s.rows {
		y := top - vg.Length(i)*barRow - barRow/2
		name := barText(r)
		name.XAlign, name.YAlign = draw.XRight, draw.YCenter
		c.FillText(name, vg.Point{X: left - barGap, Y: y + 1}, r.name)
		end := drawBar(c, s, r, left, right, y, scale)
		text := letters(10, ink, false)
		text.YAlign = draw.YCenter
		if over(r.result, figure).n == 0 {
			text.Color = faint
		}
		c.FillText(text, vg.Point{X: end + barGap, Y: y + 1}, s.barFigure(r))
	}
}

// drawBar draws a bar with its whisker and returns where it ends; scale is the
// length for 1.
func drawBar(c draw.Canvas, s *scenario, r row, left, right, y, scale vg.Length) vg.Length {
	f := over(r.result, figure)
	const half = vg.Length(barHeight) / 2
	switch {
	case f.n == 0:
		return left
	case s.cut(f):
		fillBox(c, r.kind, left, y-half, right-12, y+half)
		fillBox(c, r.kind, right-8, y-half, right, y+half)
		return right
	}
	fillBox(c, r.kind, left, y-half, left+vg.Length(f.median)*scale, y+half)
	low, high := left+vg.Length(f.low)*scale, min(left+vg.Length(f.high)*scale, right)
	whisker := draw.LineStyle{Color: ink, Width: 0.8}
	c.StrokeLine2(whisker, low, y, high, y)
	c.StrokeLine2(whisker, low, y-3, low, y+3)
	c.StrokeLine2(whisker, high, y-3, high, y+3)
	return high
}

// barText is the style of a row's name.
func barText(r row) draw.TextStyle { return letters(10, ink, r.kind == harness.Ours) }

// barFigure stands beside the bar, or in its place.
func (s *scenario) barFigure(r row) string {
	f := over(r.result, figure)
	switch {
	case f.n == 0:
		return r.whyBrief()
	case s.cut(f):
		return quantity(f.median, s.unit) + " (bar cut)"
	}
	return quantity(f.median, s.unit)
}

// cut says that the bar would not end within the panel.
func (s *scenario) cut(f spread) bool { return f.median > s.longest() }

func fillBox(c draw.Canvas, kind harness.Kind, left, bottom, right, top vg.Length) {
	c.FillPolygon(shade(kind, 0), []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}})
}

// longest is the figure at the right end of the scenario's panel, 0 without any.
func (s *scenario) longest() float64 {
	var all, like float64
	reference := s.reference()
	for _, r := range s.rows {
		high := over(r.result, figure).high
		all = max(all, high)
		if r.kind != harness.Ceiling && r.redis == reference {
			like = max(like, high)
		}
	}
	if like == 0 {
		return all
	}
	return min(all, cutAt*like)
}

// whyBrief is why in the few words that a bar's place has.
func (r row) whyBrief() string {
	switch {
	case r.result.Error != "":
		return "FAILED"
	case r.result.Skipped != "":
		return "skipped"
	case len(r.recorded) > 0:
		return "recorded"
	case r.absent:
		return "not run"
	}
	return "no samples"
}

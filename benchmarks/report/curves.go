package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/logistically/events/benchmarks/harness"
)

// Lengths of the picture with lines, in points.
const (
	curveWidth  = 760
	curveHeight = 360
	curveMargin = 12
	curveRow    = 17 // of the legend
	curveSample = 30 // the line in front of a name of the legend
)

// wide is the ratio of highest to lowest from which on the y axis is logarithmic.
const wide = 20

// curve is one line: a percentile or the figure of one contestant.
type curve struct {
	style  draw.LineStyle
	mark   draw.GlyphStyle
	places []float64 // along the x axis
	values []spread
}

// entry is a line of the legend.
type entry struct {
	name   string
	curves []curve // the last is the one that the legend shows
}

// curves draws a series: figures with min to max, or p50 and p99 of latencies.
func curves(f *family, sec *section) (picture, bool, error) {
	x := placesOf(sec.steps(), sec.step)
	latency := slices.ContainsFunc(sec.scenarios, (*scenario).latency)
	entries := sec.entries(x, latency)
	if len(entries) == 0 {
		return picture{}, false, nil
	}
	unit, title, kind := f.unit, sec.title(), "growth"
	alt := "Lines: " + f.measure + " in " + f.unit.Name + " of each contestant over " + sec.number()
	if latency {
		unit, title, kind = milliseconds, title+" (solid: p99, dashed: p50)", "latency"
		alt = "Lines: p50 and p99 of " + f.measure + " in ms of each contestant over " + sec.number()
	}
	y := heightsOf(entries, unit, latency)

	p := plot.New()
	p.Title.Text, p.Title.TextStyle, p.Title.Padding = title, letters(12, ink, true), 8
	p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	dress(&p.X, sec.number()+x.note(), draw.XCenter, draw.YTop)
	dress(&p.Y, unit.Name+y.note(), draw.XRight, draw.YCenter)
	p.Y.Label.TextStyle.YAlign = draw.YBottom // it is turned when drawn
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(x.ticks), plot.ConstantTicks(y.ticks)
	lines := plotter.NewGrid()
	lines.Horizontal.Color, lines.Vertical.Color = grid, grid
	p.Add(lines)
	for _, e := range entries {
		for _, c := range e.curves {
			if err := c.add(p, y, !latency); err != nil {
				return picture{}, false, err
			}
		}
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = x.low, x.high, y.low, y.high

	svg, c := canvas(curveWidth, max(curveHeight, vg.Length(len(entries)+4)*curveRow))
	aside := drawLegend(c, entries)
	p.BackgroundColor = nil
	p.Draw(draw.Crop(c, curveMargin, -aside, curveMargin, -curveMargin))
	data, err := encode(svg)
	return picture{
		measure: f.measure, axis: sec.axis,
		path: "plots/" + kind + "-" + slug(sec.title()) + ".svg",
		alt:  alt, svg: data,
	}, true, err
}

func dress(a *plot.Axis, label string, x draw.XAlignment, y draw.YAlignment) {
	a.Label.Text, a.Label.TextStyle, a.Label.Padding = label, letters(10, ink, false), 4
	a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YTop
	a.Tick.Label = letters(9, ink, false)
	a.Tick.Label.XAlign, a.Tick.Label.YAlign = x, y
	a.LineStyle.Color, a.Tick.LineStyle.Color = faint, faint
}

// entries are the contestants that have points, each kind in shades of its own.
func (s *section) entries(x axis, latency bool) []entry {
	var entries []entry
	used := make(map[harness.Kind]int)
	for _, name := range s.names() {
		var kind harness.Kind
		var figures, half, most curve
		for i, at := range s.steps() {
			_, r, ok := s.at(at, name)
			if !ok {
				continue
			}
			kind = r.kind
			figures.point(x.places[i], over(r.result, figure))
			half.point(x.places[i], r.percentile(p50))
			most.point(x.places[i], r.percentile(p99))
		}
		e := entry{name: name, curves: []curve{figures}}
		if latency {
			e.curves = []curve{half, most}
			e.curves[0].style.Dashes = []vg.Length{4, 3}
		}
		if len(e.curves[len(e.curves)-1].places) == 0 {
			continue
		}
		for i := range e.curves {
			e.curves[i].paint(kind, used[kind], len(entries))
		}
		used[kind]++
		entries = append(entries, e)
	}
	return entries
}

// point adds a value; nothing at or below zero is drawn.
func (c *curve) point(place float64, value spread) {
	if value.n > 0 && value.median > 0 {
		c.places = append(c.places, place)
		c.values = append(c.values, value)
	}
}

// paint gives the n-th contestant of a kind a colour, and the line of the picture
// that it is a mark, for eyes that see no colours.
func (c *curve) paint(kind harness.Kind, n, line int) {
	marks := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}}
	c.style.Color, c.style.Width = shade(kind, n), 1.4
	if kind == harness.Ours {
		c.style.Width = 2.2
	}
	c.mark = draw.GlyphStyle{Color: c.style.Color, Radius: 3, Shape: marks[line%len(marks)]}
}

// add draws the line, and whiskers from lowest to highest.
func (c *curve) add(p *plot.Plot, y axis, whiskers bool) error {
	if len(c.places) == 0 {
		return nil
	}
	var points struct {
		plotter.XYs
		plotter.YErrors
	}
	for i, v := range c.values {
		at := y.place(v.median)
		points.XYs = append(points.XYs, plotter.XY{X: c.places[i], Y: at})
		points.YErrors = append(points.YErrors, struct{ Low, High float64 }{at - y.place(v.low), y.place(v.high) - at})
	}
	line, marks, err := plotter.NewLinePoints(points.XYs)
	if err != nil {
		return err
	}
	line.LineStyle, marks.GlyphStyle = c.style, c.mark
	p.Add(line, marks)
	if !whiskers {
		return nil
	}
	bars, err := plotter.NewYErrorBars(points)
	if err != nil {
		return err
	}
	bars.LineStyle = draw.LineStyle{Color: c.style.Color, Width: 0.8}
	p.Add(bars)
	return nil
}

// drawLegend writes the names at the right and returns the width that it needs.
func drawLegend(c draw.Canvas, entries []entry) vg.Length {
	text := letters(10, ink, false)
	width := vg.Length(0)
	for _, e := range entries {
		width = max(width, text.Width(e.name))
	}
	width += curveSample + 3*curveMargin
	x, y := c.Max.X-width+curveMargin, c.Max.Y-3*curveRow
	text.YAlign = draw.YCenter
	for _, e := range entries {
		last := e.curves[len(e.curves)-1]
		c.StrokeLine2(last.style, x, y, x+curveSample-6, y)
		c.DrawGlyphNoClip(last.mark, vg.Point{X: x + (curveSample-6)/2, Y: y})
		c.FillText(text, vg.Point{X: x + curveSample, Y: y}, e.name)
		y -= curveRow
	}
	return width
}

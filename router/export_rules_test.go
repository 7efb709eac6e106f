package router

// Rules returns all rules as findings without a place.
func Rules() (all []Finding) {
	for _, r := range rules {
		all = append(all, Finding{ID: r.id, Refused: r.refused, Problem: r.problem, Remedy: r.remedy})
	}
	return all
}

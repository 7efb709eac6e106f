package redis

import (
	_ "embed"

	goredis "github.com/redis/go-redis/v9"
)

// Each script is one atomic move. It touches keys of one hash slot only.
var (
	//go:embed scripts/ack.lua
	ackSource string
	//go:embed scripts/move.lua
	moveSource string
	//go:embed scripts/retry.lua
	retrySource string
	//go:embed scripts/promote.lua
	promoteSource string
	//go:embed scripts/extend.lua
	extendSource string
	//go:embed scripts/leave.lua
	leaveSource string
	//go:embed scripts/survey.lua
	surveySource string

	ackScript     = goredis.NewScript(ackSource)
	moveScript    = goredis.NewScript(moveSource)
	retryScript   = goredis.NewScript(retrySource)
	promoteScript = goredis.NewScript(promoteSource)
	extendScript  = goredis.NewScript(extendSource)
	leaveScript   = goredis.NewScript(leaveSource)
	surveyScript  = goredis.NewScript(surveySource)
)

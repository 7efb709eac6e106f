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
	//go:embed scripts/tenure.lua
	tenureSource string
	//go:embed scripts/giveback.lua
	giveBackSource string
	//go:embed scripts/resign.lua
	resignSource string

	ackScript     = goredis.NewScript(ackSource)
	moveScript    = goredis.NewScript(moveSource)
	retryScript   = goredis.NewScript(retrySource)
	promoteScript = goredis.NewScript(promoteSource)
	extendScript  = goredis.NewScript(extendSource)
	leaveScript   = goredis.NewScript(leaveSource)
	surveyScript  = goredis.NewScript(surveySource)

	tenureScript   = goredis.NewScript(tenureSource)
	giveBackScript = goredis.NewScript(giveBackSource)
	resignScript   = goredis.NewScript(resignSource)
)

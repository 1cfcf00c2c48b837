#!/bin/sh
# make.sh SOURCE ARCHIVE: builds Mayfly from the checkout SOURCE, deploys with it, and
# packs the data folder of its node. folder.tar.zst was made so from the last commit
# that kept Mayfly's state and that of users in one NATS account (format 1). Its clock
# is 40 years ahead, so that the logs in it do not expire. Needs unshare, go, node,
# python3 and zstd.
set -eu
if [ $# -ne 2 ]; then
	echo "usage: make.sh SOURCE ARCHIVE" >&2
	exit 2
fi
source=$(realpath "$1") archive=$(realpath "$2")
if [ "${IN_SANDBOX-}" != yes ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	clock=$(go env GOROOT)/src/time/time.go
	sed 's|^\tsec, nsec, mono := runtimeNow()$|&; sec += 40 * 365 * 24 * 60 * 60|' "$clock" >"$work/time.go"
	echo "{\"Replace\": {\"$clock\": \"$work/time.go\"}}" >"$work/overlay.json"
	(cd "$source" && go build -trimpath -overlay "$work/overlay.json" -o "$work/mayfly" ./cmd/mayfly)
	env -i IN_SANDBOX=yes PATH="$work:$PATH" unshare --map-root-user --uts "$0" "$source" "$archive"
	exit
fi
hostname mayfly
work=$(mktemp -d)
trap 'kill $node 2>/dev/null || :; wait; rm -rf "$work"' EXIT
export HOME="$work" USER=mayfly MAYFLY_NATS=nats://127.0.0.1:24222 TZ=UTC
cd "$work"
MAYFLY_NATS='' mayfly up --data "$work/data" --bus.addr 127.0.0.1:24222 --gateway.addr 127.0.0.1:0 --admin.addr off \
	--dev=false 2>node.log &
node=$!
for _ in $(seq 100); do mayfly ready >/dev/null 2>&1 && break || sleep 0.1; done

mkdir shop
cd shop
cat >mayfly.yaml <<-END
	functions:
	  hello: {code: ./hello.sh, http: "GET /hello/{name}", env: {GREETING: hello}}
	  shout: {code: ./shout.mjs, summary: Says it louder}
	  count: {code: ./count.py, instances: {max: 2}}
	  keyed: {code: ./keyed.sh, secrets: [api-key]}
	  gone: {code: ./gone.sh}
	routes:
	  greet: {http: "POST /greet/{name}", subject: "greetings.*", payload: '{"to":"{name}"}', timeout: 2s}
END
cat >shout.mjs <<-END
	export default async (request) => new Response((await request.text()).toUpperCase())
END
cat >count.py <<-END
	def handle(request):
	    return str(len(request.body))
END
printf 'echo "the key is $API_KEY"\n' >keyed.sh
printf 'echo gone\n' >gone.sh
mkdir ../clock
printf 'services:\n  ticker: {code: ./ticker.sh, instances: 2}\n' >../clock/mayfly.yaml
printf 'echo ticking\nexec sleep 1000000\n' >../clock/ticker.sh
printf hunter2 | mayfly secret set api-key --data "$work/data"
for revision in one two three; do
	printf 'echo "%s speaks" >&2\necho "$GREETING %s"\n' $revision $revision >hello.sh
	mayfly deploy . --note "hello $revision"
	mayfly call hello >/dev/null
done
mayfly scale count --max 3
mayfly call shout hi
mayfly call count hi
mayfly call keyed
mayfly remove gone
mayfly deploy ../clock || : # it is deployed, but that build cannot read the state of a service
sleep 1                        # the logs' last batch
kill $node
wait $node || :
cd "$work/data"
rm -rf bundles build cache home tmp run lock
tar --sort=name --owner=0 --group=0 --numeric-owner --sparse -cf - * | zstd -19 -f -o "$archive"

package mayfly_test

import (
	"context"
	"debug/elf"
	goversion "go/version"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// These tests check what compose.yaml and the Dockerfile promise by reading them
// and by building what they build. No container engine takes part.

func TestComposeHasNoObsoleteKeys(t *testing.T) {
	t.Parallel()
	keys := regexp.MustCompile(`(?m)^([^\s#:]+):`).FindAllStringSubmatch(readFile(t, "compose.yaml"), -1)
	if len(keys) == 0 {
		t.Fatal("compose.yaml has no keys")
	}
	for _, key := range keys {
		if !slices.Contains([]string{"name", "services", "volumes"}, key[1]) {
			t.Errorf("compose.yaml has the key %s", key[1])
		}
	}
	for name, service := range loadCompose(t).Services {
		if len(service.Links) > 0 {
			t.Errorf("service %s has links: services find each other by name", name)
		}
	}
}

func TestComposePublishesTheGatewayToThisMachineOnly(t *testing.T) {
	t.Parallel()
	project := loadCompose(t)
	published := map[string][]types.ServicePortConfig{}
	for name, service := range project.Services {
		if len(service.Ports) > 0 {
			published[name] = service.Ports
		}
		if service.NetworkMode != "" {
			t.Errorf("service %s leaves the project's network for %q", name, service.NetworkMode)
		}
	}
	ports := published["mayfly"]
	if len(published) != 1 || len(ports) != 1 {
		t.Fatalf("published ports: %v, want one of mayfly", published)
	}
	addr, err := netip.ParseAddr(ports[0].HostIP)
	if err != nil || !addr.IsLoopback() {
		t.Errorf("the gateway is published on %q, want a loopback address", ports[0].HostIP)
	}
	if ports[0].Target != 8080 || ports[0].Published != "8080" {
		t.Errorf("port %d is published as %s, want 8080", ports[0].Target, ports[0].Published)
	}
}

func TestComposeRunsMayflyOnTheExample(t *testing.T) {
	t.Parallel()
	mayfly := service(t, "mayfly")
	if want := []string{"up", "/createtask"}; len(mayfly.Command) < 2 || !slices.Equal(mayfly.Command[:2], want) {
		t.Errorf("command = %q, want it to begin with %q", mayfly.Command, want)
	}
	for _, flag := range []string{"--bus.addr=0.0.0.0:4222", "--bus.open", "--gateway.addr=0.0.0.0:8080", "--gateway.open", "--admin.addr=127.0.0.1:8081"} {
		if !slices.Contains(mayfly.Command, flag) {
			t.Errorf("the command lacks %s", flag)
		}
	}
	check := mayfly.HealthCheck
	if check == nil {
		t.Fatal("mayfly has no healthcheck")
	}
	if want := []string{"CMD", "/mayfly", "ready", "http://127.0.0.1:8080"}; !slices.Equal(check.Test, want) {
		t.Errorf("healthcheck = %q, want %q", check.Test, want)
	}

	source := map[string]types.ServiceVolumeConfig{}
	for _, volume := range mayfly.Volumes {
		source[volume.Target] = volume
	}
	data := source["/data"]
	if data.Type != types.VolumeTypeVolume || !slices.Contains(mayfly.Command, "--data="+data.Target) {
		t.Errorf("the data folder %+v is no named volume that the command names", data)
	}
	if _, ok := loadCompose(t).Volumes[data.Source]; !ok {
		t.Errorf("volume %q is not declared", data.Source)
	}
	example := source["/createtask"]
	if !example.ReadOnly {
		t.Error("the example is not mounted read-only")
	}
	if _, err := os.Stat(filepath.Join(example.Source, "mayfly.yaml")); err != nil {
		t.Errorf("no manifest is mounted: %v", err)
	}
}

func TestComposeScalesTheWorker(t *testing.T) {
	t.Parallel()
	worker := service(t, "worker")
	if worker.ContainerName != "" {
		t.Errorf("container name %q allows only one", worker.ContainerName)
	}
	if worker.GetScale() != 2 {
		t.Errorf("%d replicas, want 2", worker.GetScale())
	}
	if uri := worker.Environment["NATS_URI"]; uri == nil || *uri != "nats://mayfly:4222" {
		t.Errorf("NATS_URI = %v", uri)
	}
	if worker.Environment["HEALTH_ADDR"] == nil {
		t.Error("HEALTH_ADDR is not set")
	}
	if on := worker.DependsOn["mayfly"]; on.Condition != types.ServiceConditionHealthy {
		t.Errorf("worker waits for mayfly to be %q", on.Condition)
	}
}

func TestComposeBuildsStagesOfTheDockerfile(t *testing.T) {
	t.Parallel()
	stages := readStages(t)
	for name, service := range loadCompose(t).Services {
		if service.Build == nil {
			t.Errorf("service %s is not built here", name)
			continue
		}
		stage, ok := stages[service.Build.Target]
		if !ok {
			t.Errorf("service %s wants the stage %q, which the Dockerfile lacks", name, service.Build.Target)
			continue
		}
		if stage.base != "scratch" {
			t.Errorf("stage %s stands on %s, want scratch", service.Build.Target, stage.base)
		}
		if entry := `ENTRYPOINT ["/` + name + `"]`; !slices.Contains(stage.lines, entry) {
			t.Errorf("stage %s lacks %s", service.Build.Target, entry)
		}
		user := stage.argument("USER ")
		if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user) {
			t.Errorf("stage %s runs as %q, want numbers that are not root's", service.Build.Target, user)
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeVolume {
				continue
			}
			// A new volume gets the owner of the image's folder at its path.
			if !slices.ContainsFunc(stage.lines, func(line string) bool {
				return strings.HasPrefix(line, "COPY ") && strings.Contains(line, "--chown="+user+" ") && strings.HasSuffix(line, " "+volume.Target)
			}) {
				t.Errorf("stage %s has no folder %s that belongs to %s: the volume would be root's", service.Build.Target, volume.Target, user)
			}
		}
	}
}

func TestDockerfileCopiesWhatItBuilt(t *testing.T) {
	t.Parallel()
	text := readFile(t, "Dockerfile")
	made := map[string]bool{}
	for _, build := range readBuilds(t) {
		made[build.output] = true
	}
	for _, line := range regexp.MustCompile(`(?m)^RUN mkdir (.*)$`).FindAllStringSubmatch(text, -1) {
		for _, folder := range strings.Fields(line[1]) {
			made[folder] = true
		}
	}
	copies := regexp.MustCompile(`(?m)^COPY --from=build (?:--chown=\S+ )?(\S+) `).FindAllStringSubmatch(text, -1)
	if len(copies) == 0 {
		t.Fatal("nothing is copied from the stage build")
	}
	for _, line := range copies {
		if !made[line[1]] {
			t.Errorf("%s is copied but nothing makes it", line[1])
		}
	}
}

// The image names a release, go.mod the oldest Go that will do: same minor version.
func TestDockerfileUsesTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if version == nil {
		t.Fatal("go.mod names no version of Go")
	}
	base := readStages(t)["build"].base
	tag, ok := strings.CutPrefix(base, "golang:")
	if !ok || goversion.Lang("go"+tag) != goversion.Lang("go"+version[1]) || goversion.Compare("go"+tag, "go"+version[1]) < 0 {
		t.Errorf("the stage build stands on %s, go.mod wants %s", base, version[1])
	}
}

// Scratch has no loader and no libc: a binary that asks for one does not start.
func TestDockerfileBuildsStaticBinaries(t *testing.T) {
	t.Parallel()
	t.Log("built with the go command of this machine; no container engine is used")
	if !regexp.MustCompile(`(?m)^ENV CGO_ENABLED=0$`).MatchString(readFile(t, "Dockerfile")) {
		t.Error("the Dockerfile does not turn cgo off")
	}
	builds := readBuilds(t)
	if len(builds) != 2 {
		t.Fatalf("the Dockerfile builds %d binaries, want mayfly and worker", len(builds))
	}
	for _, build := range builds {
		t.Run(path.Base(build.output), func(t *testing.T) {
			t.Parallel()
			binary := filepath.Join(t.TempDir(), path.Base(build.output))
			runGo(t, append(slices.Clone(build.flags), "-o", binary, build.pkg)...)
			file, err := elf.Open(binary)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			for _, p := range file.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("it is not static: it names an interpreter")
				}
			}
			if libs, err := file.ImportedLibraries(); err != nil || len(libs) > 0 {
				t.Errorf("it wants the libraries %q, %v", libs, err)
			}
			wantInBuildContext(t, build.pkg)
		})
	}
}

// wantInBuildContext checks that .dockerignore, which starts from nothing, lets
// through each folder of this module that the package needs.
func wantInBuildContext(t *testing.T, pkg string) {
	t.Helper()
	const module = "github.com/mayfly-run/mayfly"
	allowed := strings.Split(readFile(t, ".dockerignore"), "\n")
	for _, dep := range strings.Fields(runGo(t, "list", "-deps", "-f", "{{.ImportPath}}", pkg)) {
		if dep != module && !strings.HasPrefix(dep, module+"/") {
			continue
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dep, module), "/"), "/")
		want := "!" + top
		if top == "" {
			want = "!*.go"
		}
		if !slices.Contains(allowed, want) {
			t.Errorf("%s is needed, but .dockerignore has no line %s", dep, want)
		}
	}
}

func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	details := types.ConfigDetails{
		WorkingDir:  ".",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml"}},
		Environment: types.Mapping{}, // it must not depend on anybody's shell
	}
	project, err := loader.LoadWithContext(context.Background(), details)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func service(t *testing.T, name string) types.ServiceConfig {
	t.Helper()
	s, err := loadCompose(t).GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A stage is one FROM of the Dockerfile, with the lines up to the next.
type stage struct {
	base  string
	lines []string
}

// argument returns what follows the instruction in its only line.
func (s stage) argument(instruction string) string {
	for _, line := range s.lines {
		if rest, ok := strings.CutPrefix(line, instruction); ok {
			return rest
		}
	}
	return ""
}

func readStages(t *testing.T) map[string]stage {
	t.Helper()
	stages := map[string]stage{}
	name := ""
	for line := range strings.Lines(readFile(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); len(words) == 4 && words[0] == "FROM" && words[2] == "AS" {
			name = words[3]
			stages[name] = stage{base: words[1]}
			continue
		}
		s := stages[name]
		s.lines = append(s.lines, line)
		stages[name] = s
	}
	return stages
}

// A build is one go build of the Dockerfile.
type build struct {
	flags       []string // build and its flags, without -o
	output, pkg string
}

func readBuilds(t *testing.T) []build {
	t.Helper()
	var builds []build
	for _, m := range regexp.MustCompile(`\bgo (build .*)-o (\S+) (\S+)`).FindAllStringSubmatch(readFile(t, "Dockerfile"), -1) {
		builds = append(builds, build{flags: strings.Fields(m[1]), output: m[2], pkg: m[3]})
	}
	return builds
}

// runGo runs the go command with cgo off, as the Dockerfile does.
func runGo(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

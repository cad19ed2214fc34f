# Runs the formula without Homebrew, as far as it goes: what its lines say is checked, its `install` fills a
# prefix with a program that is built already, and its `test` runs there.
#
#     ruby tests/packages/formula.rb packaging/homebrew/ferrite-wasmc.rb.in VERSION FERRITE_WASMC
require "fileutils"
require "open3"
require "pathname"
require "tmpdir"

def fail_with(text)
  abort "FAILED: #{text}"
end

# What a formula can say, of Homebrew's language only the words that this one uses.
class Formula
  SAID = {}
  class << self
    [:desc, :homepage, :url, :sha256, :license, :head, :depends_on].each do |word|
      define_method(word) { |*values, **options| SAID[word] = [*values, options] }
    end
    def test(&block)
      define_method(:run_test, &block)
    end
  end

  attr_reader :prefix, :testpath

  def initialize(prefix, testpath, program)
    @prefix = prefix
    @testpath = testpath
    @program = program
  end

  def bin
    prefix/"bin"
  end

  def man1
    prefix/"share/man/man1"
  end

  def std_cargo_args(root: prefix, path: ".")
    ["--jobs", "2", "--locked", "--root=#{root}", "--path=#{path}"]
  end

  # Stands in for `cargo install`; other programs are run.
  def system(program, *arguments)
    if program == "cargo"
      path = arguments.filter_map { |argument| argument[/\A--path=(.*)/, 1] }.first
      manifest = File.read("#{path}/Cargo.toml")
      fail_with "#{path} is not ferrite-wasmc" unless manifest.include?("name = \"ferrite-wasmc\"")
      fail_with "cargo #{arguments.join(" ")}" unless arguments.first == "install" && arguments.include?("--locked")
      FileUtils.mkdir_p bin
      FileUtils.cp @program, bin/"ferrite-wasmc"
    else
      Kernel.system(program.to_s, *arguments.map(&:to_s), exception: true)
    end
  end

  def generate_completions_from_executable(*command)
    { bash: "etc/bash_completion.d/ferrite-wasmc", zsh: "share/zsh/site-functions/_ferrite-wasmc",
      fish: "share/fish/vendor_completions.d/ferrite-wasmc.fish" }.each do |shell, file|
      script, status = Open3.capture2(*command.map(&:to_s), shell.to_s)
      fail_with "no completions for #{shell}" if !status.success? || script.empty?
      FileUtils.mkdir_p (prefix/file).dirname
      (prefix/file).write script
    end
  end

  def shell_output(command)
    output, status = Open3.capture2(command)
    fail_with "#{command}: #{status}" unless status.success?
    output
  end

  def assert_equal(wanted, found)
    fail_with "expected #{wanted.inspect}, found #{found.inspect}" unless wanted == found
  end
end

template, version, program = ARGV
text = File.read(template).gsub("@VERSION@", version).gsub("@SHA256@", "0" * 64)
fail_with "a placeholder is left: #{text[/@[A-Z0-9]+@/]}" if text.match?(/@[A-Z0-9]+@/)
eval text, TOPLEVEL_BINDING, template

said = Formula::SAID.transform_values(&:first)
desc = said.fetch(:desc)
fail_with "desc has #{desc.length} characters; Homebrew takes 80" if desc.length > 80
fail_with "desc: Homebrew takes no article and no full stop" if desc.match?(/\A(an?|the) /i) || desc.end_with?(".")
fail_with "homepage is not https" unless said.fetch(:homepage).start_with?("https://")
fail_with "url does not name the tag" unless said.fetch(:url).end_with?("/v#{version}.tar.gz")
fail_with "sha256 is no digest" unless said.fetch(:sha256).match?(/\A\h{64}\z/)

Dir.mktmpdir do |folder|
  prefix = Pathname(folder)/"prefix"
  testpath = Pathname(folder)/"test"
  testpath.mkpath
  formula = FerriteWasmc.new(prefix, testpath, File.expand_path(program))
  formula.install
  fail_with "no manual page" if Dir[prefix/"share/man/man1/ferrite-wasmc*.1"].empty?
  Dir.chdir(testpath) { formula.run_test }
end
puts "the formula installs, and its test passes"

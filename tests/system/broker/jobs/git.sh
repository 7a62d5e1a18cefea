# git, unmodified: a push to a repository and a clone of it. $1: the repository, $2: bytes of a file that has no pattern.
set -eu
cd "$(mktemp -d)"
export HOME="$PWD" GIT_TERMINAL_PROMPT=0
git config --global user.email lab@example.com
git config --global user.name lab
git init -q -b main work
cd work
head -c "$2" /dev/urandom >noise
echo "hello from the container" >README
git add .
git commit -q -m First
git push -q "https://github.com/lab/$1.git" main
cd ..
git clone -q "https://github.com/lab/$1.git" again
cmp work/noise again/noise
cat again/README

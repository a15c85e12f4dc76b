// Labelled pictures: folders and lists, what is refused, and the split.
#include "data/labelled_pictures.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/testing/training_folder.h"

namespace hai::data {
namespace {

using testing::TrainingFolder;

Preprocessing small_rule() {
  Preprocessing rule;
  rule.width = rule.height = 4;
  return rule;
}

std::string id_of(const Result<LabelledSet>& result) { return result ? "none" : result.error().id; }

TEST(LabelledPictures, AFolderAClassInByteOrder) {
  const TrainingFolder folder;
  folder.picture("zebra/a.png", 1);
  folder.picture("Zoo/b.png", 2);
  folder.picture("ant/deep/c.png", 3);
  folder.picture("ant/a.png", 4);
  folder.text("ant/notes.txt", "no picture");
  folder.picture(".hidden/x.png", 5);
  const auto set = list_labelled(folder.root(), 3);
  ASSERT_TRUE(set) << set.error().to_string();
  EXPECT_EQ(set->classes, (std::vector<std::string>{"Zoo", "ant", "zebra"}));  // capitals come first
  std::vector<std::pair<std::string, int32_t>> found;
  for (const auto& one : set->pictures) found.emplace_back(one.path.filename().string(), one.label);
  EXPECT_EQ(found,
            (std::vector<std::pair<std::string, int32_t>>{{"b.png", 0}, {"a.png", 1}, {"c.png", 1}, {"a.png", 2}}));
}

TEST(LabelledPictures, WhatAFolderMustHave) {
  const TrainingFolder folder;
  EXPECT_EQ(id_of(list_labelled(folder.root() / "nowhere", 2)), "D081");
  EXPECT_EQ(id_of(list_labelled(folder.root(), 2)), "D070");
  folder.picture("a/1.png", 1);
  EXPECT_EQ(id_of(list_labelled(folder.root(), 1)), "D076");
  folder.text("b/readme.txt", "nothing");
  EXPECT_EQ(id_of(list_labelled(folder.root(), 2)), "D071");
  folder.picture("b/1.png", 1);
  EXPECT_EQ(id_of(list_labelled(folder.root(), 2)), "none");
  EXPECT_EQ(id_of(list_labelled(folder.root(), 3)), "D075");
  EXPECT_EQ(id_of(list_labelled(folder.root(), 1)), "D075");
}

TEST(LabelledPictures, AListOfNamesOrNumbers) {
  const TrainingFolder folder;
  const auto of = [&](const std::string& text, int64_t classes) {
    folder.text("list.csv", text);
    return list_labelled(folder.root() / "list.csv", classes);
  };
  const auto named = of("path,label\r\nx/1.png,dog\r\n\r\n\"x/a, \"\"b\"\".png\",\"cat\"\n", 2);
  ASSERT_TRUE(named) << named.error().to_string();
  EXPECT_EQ(named->classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(named->pictures[0].label, 1);
  EXPECT_EQ(named->pictures[0].path, folder.root() / "x/1.png");
  EXPECT_EQ(named->pictures[1].path, folder.root() / "x/a, \"b\".png");
  const auto numbered = of("a.png,1\nb.png,0\nc.png,1", 2);
  ASSERT_TRUE(numbered) << numbered.error().to_string();
  EXPECT_EQ(numbered->classes, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(numbered->pictures[2].label, 1);
  EXPECT_TRUE(numbered->numbered);
  EXPECT_FALSE(named->numbered);
  EXPECT_EQ(id_of(of("a.png,1\nb.png,2\n", 2)), "D073");
  EXPECT_EQ(id_of(of("a.png,1\nb.png,-1\n", 2)), "D073");
  EXPECT_EQ(id_of(of("a.png,1\nb.png,99999999999999999999\n", 2)), "D073");
  EXPECT_EQ(id_of(of("a.png,0\nb.png,0\n", 2)), "D071");
  EXPECT_EQ(id_of(of("a.png,0\nx/../a.png,1\n", 2)), "D074");
  for (const char* line : {"a.png", "a.png,", ",1", "a,b,c", "\"a.png,1", "\"a\"b,1"})
    EXPECT_EQ(id_of(of(line, 2)), "D072") << line;
  EXPECT_EQ(id_of(of("", 2)), "D082");
}

TEST(LabelledPictures, CorruptOnesAreNamedAndTakenOut) {
  const TrainingFolder folder;
  for (const char* name : {"a/1.png", "a/2.png", "b/1.png", "b/2.png"}) folder.picture(name, 7);
  folder.text("a/3.png", "no picture at all");
  folder.text("b/0.jpg", "");
  for (const int threads : {1, 3}) {
    auto set = list_labelled(folder.root(), 2);
    ASSERT_TRUE(set);
    const auto report = drop_unreadable(*set, small_rule(), threads);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(report->wanted_count, 6);
    EXPECT_EQ(report->read_count, 4);
    ASSERT_EQ(report->skipped.size(), 2U);
    EXPECT_EQ(report->skipped[0].path.filename(), "3.png");
    EXPECT_EQ(report->skipped[1].path.filename(), "0.jpg");
    EXPECT_EQ(set->pictures.size(), 4U);
  }
  folder.text("b/1.png", "x");
  folder.text("b/2.png", "x");
  auto set = list_labelled(folder.root(), 2);
  ASSERT_TRUE(set);
  const auto report = drop_unreadable(*set, small_rule(), 1);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().id, "D077");
}

LabelledSet numbered_set(const std::vector<int>& sizes) {
  LabelledSet set;
  for (size_t label = 0; label < sizes.size(); ++label) {
    set.classes.push_back(std::to_string(label));
    for (int i = 0; i < sizes[label]; ++i) set.pictures.push_back({std::to_string(i), static_cast<int32_t>(label)});
  }
  return set;
}

TEST(SplitByClass, HoldsAShareOfEachOut) {
  const LabelledSet set = numbered_set({10, 3, 2, 100});
  const auto split = split_by_class(set, 0.1, 5);
  ASSERT_TRUE(split);
  std::vector<int> held(4, 0);
  for (const size_t i : split->held_out) ++held[static_cast<size_t>(set.pictures[i].label)];
  EXPECT_EQ(held, (std::vector<int>{1, 1, 1, 10}));
  std::set<size_t> all(split->training.begin(), split->training.end());
  all.insert(split->held_out.begin(), split->held_out.end());
  EXPECT_EQ(all.size(), set.pictures.size());
  EXPECT_EQ(split->training.size() + split->held_out.size(), set.pictures.size());
  EXPECT_EQ(split_by_class(set, 0.1, 5)->held_out, split->held_out);
  EXPECT_NE(split_by_class(set, 0.1, 6)->held_out, split->held_out);
  const auto most = split_by_class(set, 0.99, 5);
  EXPECT_EQ(most->training.size(), 4U);  // one of each stays
  EXPECT_EQ(split_by_class(set, 0, 5)->held_out.size(), 0U);
}

TEST(SplitByClass, WhatItRefuses) {
  EXPECT_EQ(split_by_class(numbered_set({4, 1}), 0.1, 5).error().id, "D079");
  EXPECT_TRUE(split_by_class(numbered_set({4, 1}), 0, 5));
  for (const double share : {-0.1, 1.0, std::nan("")})
    EXPECT_EQ(split_by_class(numbered_set({4, 4}), share, 5).error().id, "D078") << share;
}

TEST(ListGrowing, KnownClassesKeepTheirNumbersAndNewOnesComeBehind) {
  const testing::TrainingFolder folder;
  folder.picture("first/dog/a.png", 1);
  folder.picture("first/ant/a.png", 2);
  folder.picture("second/cat/a.png", 3);
  folder.picture("second/dog/b.png", 4);
  std::vector<std::string> known;
  ASSERT_TRUE(list_growing(folder.root() / "first", 4, known));
  EXPECT_EQ(known, (std::vector<std::string>{"ant", "dog"}));
  auto second = list_growing(folder.root() / "second", 4, known);
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_EQ(known, (std::vector<std::string>{"ant", "dog", "cat"}));
  EXPECT_EQ(second->classes, (std::vector<std::string>{"ant", "dog", "cat", ""}));
  ASSERT_EQ(second->pictures.size(), 2U);
  EXPECT_EQ(second->pictures[0].label, 2);
  EXPECT_EQ(second->pictures[1].label, 1);
  // Classes without pictures are neither missed nor split.
  Preprocessing rule;
  rule.width = rule.height = 4;
  EXPECT_TRUE(drop_unreadable(*second, rule, 1));
  second->pictures.push_back({folder.root() / "x.png", 2});
  second->pictures.push_back({folder.root() / "y.png", 1});
  const auto split = split_by_class(*second, 0.5, 1);
  ASSERT_TRUE(split) << split.error().to_string();
  EXPECT_EQ(split->held_out.size(), 2U);
  EXPECT_EQ(list_growing(folder.root() / "second", 2, known).error().id, "D075");

  folder.text("list.csv", "first/dog/a.png,3\n");
  std::vector<std::string> numbers = {"0"};
  const auto listed = list_growing(folder.root() / "list.csv", 5, numbers);
  ASSERT_TRUE(listed) << listed.error().to_string();
  EXPECT_EQ(numbers, (std::vector<std::string>{"0", "1", "2", "3"}));
  EXPECT_EQ(listed->classes.size(), 5U);
}

}  // namespace
}  // namespace hai::data
